/** One state s = (x, y_<t) of a small world: what both models predict there. */
export interface State {
  /** Which prompt it follows. */
  prompt: number;
  /** The response tokens so far, none of them EOS. */
  prefix: number[];
  /** ln q(v | s) and ln p(v | s), float64. */
  logq: Float64Array;
  logp: Float64Array;
  /** KL(q‖p) at this state, nats. */
  kl: number;
  /** Σ_v q(v | s)². */
  collision: number;
  /** ρ(s, v), the task's reward of token v; one for the whole response is that of the token which ends it. Absent: no task. */
  reward?: Float64Array;
  /** Index of the state after token v; −1 where the sequence ends (EOS or horizon). */
  next: Int32Array;
}

/** The shape of a world's trees. */
export interface WorldShape {
  vocab: number;
  horizon: number;
  eos: number;
  /** Teacher share of the sampling mixture. */
  alpha: number;
  /** β, weight of the reverse KL beside the task's rewards; default 1. */
  klCoef?: number;
}

/** One complete tree of states for every prompt; a state comes before those that follow it. */
export interface World extends WorldShape {
  /** Number of different sequences. */
  sequences: number;
  states: State[];
  /** The state of each prompt before its first token. Prompts are drawn with equal probability. */
  roots: number[];
}

/** More sequences than this would take minutes. */
export const maxSequences = 50_000;

/** Σ_{d<H} (V−1)^d sequences that end with EOS, and (V−1)^H cut at the horizon; stops counting past the limit. */
export function countSequences({ vocab, horizon }: Pick<WorldShape, 'vocab' | 'horizon'>): number {
  let alive = 1;
  let count = 0;
  for (let t = 0; t < horizon && count <= maxSequences; t++) {
    count += alive;
    alive *= vocab - 1;
  }
  return count + alive;
}

/** Every prefix without EOS shorter than the horizon, shorter ones first. */
export function allPrefixes({ vocab, horizon, eos }: Omit<WorldShape, 'alpha'>): number[][] {
  const prefixes: number[][] = [[]];
  for (let i = 0; i < prefixes.length; i++) {
    const prefix = prefixes[i]!;
    if (prefix.length + 1 >= horizon) continue;
    for (let v = 0; v < vocab; v++) if (v !== eos) prefixes.push([...prefix, v]);
  }
  return prefixes;
}

/** Raw logits of both models, and rewards, after every prefix of `allPrefixes`, in its order. */
export interface Logits {
  student: ArrayLike<number>[];
  teacher: ArrayLike<number>[];
  /** The task's reward of every token; default: no task. */
  reward?: ArrayLike<number>[];
}

/** A world from the logits of each prompt's tree. */
export function growWorld(shape: WorldShape, prompts: readonly Logits[]): World {
  const prefixes = allPrefixes(shape);
  const index = new Map(prefixes.map((prefix, i) => [prefix.join(), i]));
  const states = prompts.flatMap(({ student, teacher, reward }, prompt) =>
    prefixes.map((prefix, i): State => {
      const logq = logSoftmax(student[i]!);
      const logp = logSoftmax(teacher[i]!);
      const next = Int32Array.from({ length: shape.vocab }, (_, v) => {
        const after = v === shape.eos ? undefined : index.get([...prefix, v].join());
        return after === undefined ? -1 : prompt * prefixes.length + after;
      });
      return {
        prompt,
        prefix,
        logq,
        logp,
        kl: logq.reduce((sum, l, v) => sum + Math.exp(l) * (l - logp[v]!), 0),
        collision: logq.reduce((sum, l) => sum + Math.exp(2 * l), 0),
        ...(reward && { reward: Float64Array.from(reward[i]!) }),
        next,
      };
    }),
  );
  const roots = prompts.map((_, prompt) => prompt * prefixes.length);
  return { ...shape, sequences: prompts.length * countSequences(shape), states, roots };
}

function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const z = Float64Array.from(logits);
  const top = z.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY);
  const lse = top + Math.log(z.reduce((sum, x) => sum + Math.exp(x - top), 0));
  return z.map((x) => x - lse);
}
