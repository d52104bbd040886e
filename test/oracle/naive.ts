import { naiveLogSoftmax, naiveSequences, type WorldJson } from './worlds.js';

/**
 * Every estimator of the oracle's grid once more: slow, dense and written from the equations. Shares no code with src/ (the
 * tuples are drawn token by token from intersections of intervals, returns are mixtures of n-step sums).
 */
export interface Choice {
  returns: 'sampled' | 'rao-blackwell' | 'gae' | 'gae-rao-blackwell';
  /** Critic: what the exact value is multiplied by. */
  critic: number;
  baseline: string;
  importance: string;
  sampling: string;
  samples: number;
  alpha: number;
  single_step: boolean;
  lambda: number;
  truncation: number;
}

interface Model {
  json: WorldJson;
  q: Map<string, number[]>;
  p: Map<string, number[]>;
  column: Map<string, number>;
  /** The task's reward of a token, and β. */
  rho: (key: string, token: number) => number;
  beta: number;
}

/** One sequence: what does not depend on other samples. */
interface Prepared {
  tokens: number[];
  keys: string[];
  probability: number;
  w: number[];
  reg: number[];
  G: number[];
  /** V(s_t), and |w_t ∇ln q(y_t)|². */
  V: number[];
  squares: number[];
  /** Q(s_t, a) of every action: action-value reads it. And what the sum over them weighs. */
  Q: number[][];
  ofActions: number[];
}

/** @param pull from gradients of the logits to those of the parameters; default: the same */
export function naiveMoments(
  json: WorldJson,
  choice: Choice,
  pull = (gradient: number[]) => gradient,
): { mean: number[]; variance: number } {
  const model = modelOf(json);
  const all = naiveSequences(json).map((s) => prepare(model, s, choice));
  const baseline = baselineOf(all, choice);
  const size = json.student.length * json.vocab;
  const mean = pull(new Array<number>(size).fill(0));
  let second = 0;
  const tuples =
    choice.samples === 1
      ? all.map((s) => ({ drawn: [s], probability: s.probability }))
      : tuplesOf(model, all, choice);
  for (const { drawn, probability } of tuples) {
    const g = new Array<number>(size).fill(0);
    drawn.forEach((s, i) => {
      const A = baseline(drawn, i);
      s.keys.forEach((key, t) => {
        const logq = model.q.get(key)!;
        const logp = model.p.get(key)!;
        const kl = klOf(model, key);
        logq.forEach((l, v) => {
          const score = (s.tokens[t] === v ? 1 : 0) - Math.exp(l);
          const single = choice.single_step ? model.beta * s.reg[t]! * Math.exp(l) * (l - logp[v]! - kl) : 0;
          const mean = s.Q[t]!.reduce((sum, x, a) => sum + Math.exp(logq[a]!) * x, 0);
          const all = choice.baseline === 'action-value' ? Math.exp(l) * (s.Q[t]![v]! - mean) : 0;
          g[model.column.get(key)! + v]! +=
            (single - s.w[t]! * A[t]! * score - s.ofActions[t]! * all) / drawn.length;
        });
      });
    });
    pull(g).forEach((x, i) => {
      mean[i]! += probability * x;
      second += probability * x * x;
    });
  }
  return { mean, variance: choice.samples * (second - mean.reduce((sum, x) => sum + x * x, 0)) };
}

function modelOf(json: WorldJson): Model {
  const table = (entries: WorldJson['student']) =>
    new Map(entries.map((e) => [e.prefix.join('-'), naiveLogSoftmax(e.logits)]));
  const rewards = new Map(json.reward?.map((e) => [e.prefix.join('-'), e.values]));
  return {
    json,
    rho: (key, token) => rewards.get(key)?.[token] ?? 0,
    beta: json.kl_coef ?? 1,
    q: table(json.student),
    p: table(json.teacher),
    column: new Map(json.student.map((e, i) => [e.prefix.join('-'), i * json.vocab])),
  };
}

function klOf({ q, p }: Model, key: string): number {
  return q.get(key)!.reduce((sum, l, v) => sum + Math.exp(l) * (l - p.get(key)![v]!), 0);
}

/** E_q[Σ rewards from this state on]. */
function valueFrom(model: Model, tokens: number[]): number {
  const key = tokens.join('-');
  if (!model.q.has(key)) return 0;
  return model.q.get(key)!.reduce((sum, l, v) => {
    const rest = v === model.json.eos ? 0 : valueFrom(model, [...tokens, v]);
    return sum + Math.exp(l) * (model.beta * (model.p.get(key)![v]! - l) + model.rho(key, v) + rest);
  }, 0);
}

function prepare(model: Model, s: ReturnType<typeof naiveSequences>[number], c: Choice): Prepared {
  const length = s.tokens.length;
  const mixture = s.logq.map((l, t) => c.alpha * Math.exp(s.logp[t]!) + (1 - c.alpha) * Math.exp(l));
  const u = s.logq.map((l, t) => Math.exp(l) / mixture[t]!);
  const cut = c.importance === 'truncated' ? c.truncation : Number.POSITIVE_INFINITY;
  /** Π of the first n factors. */
  const product = (n: number) =>
    Math.min(
      cut,
      u.slice(0, n).reduce((a, b) => a * b, 1),
    );
  const running = c.importance === 'prefix' || c.importance === 'truncated';
  const w = u.map((x, t) => (running ? product(t + 1) : c.importance === 'token' ? x : 1));
  const reg = u.map((x, t) => (running ? product(t) : c.importance === 'token' ? x : 1));
  // What a reward of step k, or a function of the state s_k, weighs beside w_t.
  const ofReward = (t: number, k: number) => (running ? product(k + 1) / product(t + 1) : 1);
  const ofState = (t: number, k: number) => (running ? product(k) / product(t + 1) : 1);
  const kl = s.keys.map((key) => klOf(model, key));
  const V = s.keys.map(
    (_, t) => c.critic * (valueFrom(model, s.tokens.slice(0, t)) + (c.single_step ? model.beta * kl[t]! : 0)),
  );
  const exact = c.returns.endsWith('rao-blackwell');
  const reward = (t: number, k: number) =>
    k === t
      ? s.logp[t]! - s.logq[t]!
      : exact
        ? -ofState(t, k) * kl[k]!
        : ofReward(t, k) * (s.logp[k]! - s.logq[k]!);
  const first = c.single_step ? 1 : 0;
  const G = s.tokens.map((_, t) => {
    /** The first n rewards that G_t sums, then the value of the state in which the next would fall. */
    const steps = (n: number) => {
      let sum = 0;
      for (let k = t + first; k < Math.min(length, t + first + n); k++) sum += model.beta * reward(t, k);
      for (let k = t; k < Math.min(length, t + n); k++)
        sum += (k === t ? 1 : ofReward(t, k)) * model.rho(s.keys[k]!, s.tokens[k]!);
      return sum;
    };
    if (!c.returns.startsWith('gae')) return steps(length);
    const most = length - 1 - t;
    let mixed = c.lambda ** most * steps(length);
    for (let n = 1; n <= most; n++) {
      mixed += (1 - c.lambda) * c.lambda ** (n - 1) * (steps(n) + ofState(t, t + n) * V[t + n]!);
    }
    return mixed;
  });
  const squares = s.keys.map((key, t) => {
    const score = model.q.get(key)!.map((l, v) => (s.tokens[t] === v ? 1 : 0) - Math.exp(l));
    return w[t]! ** 2 * score.reduce((sum, x) => sum + x * x, 0);
  });
  const Q = s.keys.map((key, t) =>
    model.q.get(key)!.map((l, a) => {
      const rest = a === model.json.eos ? 0 : valueFrom(model, [...s.tokens.slice(0, t), a]);
      const own = c.single_step ? 0 : model.beta * (model.p.get(key)![a]! - l);
      return c.critic * (own + model.rho(key, a) + rest);
    }),
  );
  const ofActions = u.map((_, t) => (running ? product(t) : 1));
  return { ...s, probability: mixture.reduce((a, b) => a * b, 1), w, reg, G, V, squares, Q, ofActions };
}

type Baseline = (drawn: Prepared[], i: number) => number[];

function baselineOf(all: Prepared[], { baseline }: Choice): Baseline {
  const mean = (weight: (s: Prepared, t: number) => number, f: (s: Prepared, t: number) => number) => {
    let [sum, mass] = [0, 0];
    for (const s of all)
      s.G.forEach((_, t) => {
        sum += s.probability * weight(s, t) * f(s, t);
        mass += s.probability * weight(s, t);
      });
    return mass === 0 ? 0 : sum / mass;
  };
  const one = () => 1;
  const G = (s: Prepared, t: number) => s.G[t]!;
  const constant =
    (b: number, scale = 1): Baseline =>
    (drawn, i) =>
      drawn[i]!.G.map((g) => (g - b) * scale);
  switch (baseline) {
    case 'none':
      return constant(0);
    case 'batch':
    case 'ema':
      return constant(mean(one, G));
    case 'score-weighted':
      return constant(mean((s, t) => s.squares[t]!, G));
    case 'position': {
      const longest = Math.max(...all.map((s) => s.G.length));
      const at = Array.from({ length: longest }, (_, k) => mean((_s, t) => (t === k ? 1 : 0), G));
      return (drawn, i) => drawn[i]!.G.map((g, t) => g - at[t]!);
    }
    case 'value':
      return (drawn, i) => drawn[i]!.G.map((g, t) => g - drawn[i]!.V[t]!);
    case 'action-value':
      return (drawn, i) => drawn[i]!.G.map((g, t) => g - drawn[i]!.Q[t]![drawn[i]!.tokens[t]!]!);
    case 'whiten': {
      const m = mean(one, G);
      return constant(m, 1 / Math.sqrt(mean(one, (s, t) => (s.G[t]! - m) ** 2) + 1e-8));
    }
    case 'whiten-padded': {
      const slots = Math.max(...all.map((s) => s.G.length));
      const padded = (f: (g: number) => number) =>
        all.reduce((sum, s) => {
          const cells = Array.from({ length: slots }, (_, t) => f(s.G[t] ?? 0));
          return sum + (s.probability * cells.reduce((a, b) => a + b, 0)) / slots;
        }, 0);
      const m = padded((g) => g);
      return constant(m, 1 / Math.sqrt(padded((g) => (g - m) ** 2) + 1e-8));
    }
    case 'leave-one-out':
      return (drawn, i) =>
        drawn[i]!.G.map((g, t) => {
          const others = drawn.filter((_, j) => j !== i).map((s) => s.G[t] ?? 0);
          return g - others.reduce((a, b) => a + b, 0) / others.length;
        });
    case 'group-normalised':
      return (drawn, i) => {
        const values = drawn.flatMap((s) => s.G);
        const m = values.reduce((a, b) => a + b, 0) / values.length;
        const variance = values.reduce((sum, g) => sum + (g - m) ** 2, 0) / values.length;
        return drawn[i]!.G.map((g) => (g - m) / Math.sqrt(variance + 1e-8));
      };
    default:
      throw new Error(baseline);
  }
}

type Interval = [number, number];

/** Every K-tuple of sequences with its probability: all V^K choices of tokens at every step. */
function tuplesOf(model: Model, all: Prepared[], c: Choice): { drawn: Prepared[]; probability: number }[] {
  const byTokens = new Map(all.map((s) => [s.tokens.join('-'), s]));
  const result: { drawn: Prepared[]; probability: number }[] = [];
  const visit = (paths: number[][], probability: number): void => {
    if (paths.every((path) => byTokens.has(path.join('-')))) {
      result.push({ drawn: paths.map((path) => byTokens.get(path.join('-'))!), probability });
      return;
    }
    const choose = (k: number, chosen: number[]): void => {
      if (k === paths.length) {
        const share = jointProbability(model, paths, chosen, c);
        if (share > 0)
          visit(
            paths.map((path, i) => (chosen[i]! < 0 ? path : [...path, chosen[i]!])),
            probability * share,
          );
        return;
      }
      if (byTokens.has(paths[k]!.join('-'))) choose(k + 1, [...chosen, -1]);
      else for (let v = 0; v < model.json.vocab; v++) choose(k + 1, [...chosen, v]);
    };
    choose(0, []);
  };
  visit(
    Array.from({ length: c.samples }, () => []),
    1,
  );
  return result;
}

/** The length of the set of shared numbers u at which sample k draws the k-th token (−1: it has ended and draws none). */
function jointProbability(model: Model, paths: number[][], tokens: number[], c: Choice): number {
  const own = paths.map((path, k): Interval => {
    if (tokens[k]! < 0) return [0, 1];
    const key = path.join('-');
    const mix = model.q
      .get(key)!
      .map((l, v) => c.alpha * Math.exp(model.p.get(key)![v]!) + (1 - c.alpha) * Math.exp(l));
    const before = mix.slice(0, tokens[k]).reduce((a, b) => a + b, 0);
    return [before, before + mix[tokens[k]!]!];
  });
  const length = (intervals: Interval[]) => intervals.reduce((sum, [a, b]) => sum + b - a, 0);
  const together = (sets: Interval[][]) => length(sets.reduce(intersect, [[0, 1]]));
  const K = paths.length;
  if (c.sampling === 'independent') return own.reduce((product, interval) => product * length([interval]), 1);
  if (c.sampling === 'antithetic') {
    let product = 1;
    for (let k = 0; k < K; k += 2) {
      const [a, b] = own[k + 1]!;
      product *= together([[own[k]!], [[1 - b, 1 - a]]]);
    }
    return product;
  }
  // u_k = (k/K + u) mod 1 lies in [a, b) where u lies in [a − k/K, b − k/K), wrapped into [0, 1).
  const sets = own.map(([a, b], k): Interval[] =>
    [-1, 0, 1].map((turn) => [a - k / K + turn, b - k / K + turn]),
  );
  return together(sets);
}

function intersect(a: Interval[], b: Interval[]): Interval[] {
  return a.flatMap(([from, to]) =>
    b.flatMap(([low, high]): Interval[] => {
      const both: Interval = [Math.max(from, low), Math.min(to, high)];
      return both[1] > both[0] ? [both] : [];
    }),
  );
}
