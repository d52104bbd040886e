import { describe, expect, it } from 'vitest';
import { enumerate, population } from '../../src/oracle/enumeration.js';
import {
  entropyExact,
  lengthNormalisedKlExact,
  objectiveExact,
  reverseKlExact,
} from '../../src/oracle/exact.js';
import { floorVariance } from '../../src/oracle/floor.js';
import { runOracle } from '../../src/oracle/oracle.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { naiveLogSoftmax, naiveSequences, randomWorldJson, type WorldJson, withTask } from './worlds.js';

const sum = (x: number[]) => x.reduce((a, b) => a + b, 0);

/** Σ_y q(y) (β Σ_t ln(q/p) − Σ_t ρ_t), the first sum optionally over T: the definition. */
function naiveKl(json: WorldJson, perToken: boolean): number {
  const rewards = new Map(json.reward?.map(({ prefix, values }) => [prefix.join('-'), values]));
  return sum(
    naiveSequences(json).map(({ tokens, keys, logq, logp }) => {
      const kl = (json.kl_coef ?? 1) * (sum(logq) - sum(logp));
      const reward = sum(tokens.map((v, t) => rewards.get(keys[t]!)?.[v] ?? 0));
      return Math.exp(sum(logq)) * ((perToken ? kl / tokens.length : kl) - reward);
    }),
  );
}

describe.each([
  ['vocabulary 3, horizon 4', randomWorldJson(3, 4, 1)],
  ['vocabulary 4, horizon 3, EOS last', shuffled(4, 3)],
  ['vocabulary 2, horizon 5', randomWorldJson(2, 5, 3, 0.5)],
  ['a task', withTask(randomWorldJson(3, 3, 4), 0.3)],
])('exact objective and gradient, %s', (_, json) => {
  const world = parseWorld(json, 'world');
  const enumeration = enumerate(world);
  const position = new Map(world.states.map(({ prefix }, s) => [prefix.join('-'), s]));

  it('enumerates every sequence once, probabilities add to 1 for the student and the mixture', () => {
    const naive = naiveSequences(json)
      .map(({ tokens }) => tokens.join('-'))
      .sort();
    expect(enumeration.sequences.map(({ tokens }) => [...tokens].join('-')).sort()).toEqual(naive);
    expect(world.sequences).toBe(naive.length);
    for (const alpha of [0, 0.2, 1]) {
      expect(sum([...population(enumeration, alpha).probabilities])).toBeCloseTo(1, 13);
    }
  });

  it.each([
    ['of sequences', false],
    ['E[Σ/T]', true],
  ] as const)('%s: value by definition, gradient by central differences', (_name, perToken) => {
    const exact = perToken ? lengthNormalisedKlExact(enumeration) : objectiveExact(world);
    expect(exact.value).toBeCloseTo(naiveKl(json, perToken), 13);
    const h = 1e-5;
    json.student.forEach(({ prefix, logits }, entry) => {
      logits.forEach((z, v) => {
        const at = (value: number) => {
          const student = json.student.with(entry, { prefix, logits: logits.with(v, value) });
          return naiveKl({ ...json, student }, perToken);
        };
        const slope = (at(z + h) - at(z - h)) / (2 * h);
        const found = exact.gradient[position.get(prefix.join('-'))! * json.vocab + v];
        expect(found, `[${prefix}] ${v}`).toBeCloseTo(slope, 8);
      });
    });
  });
});

it('the expected sum of entropies: by definition, gradient by central differences; what the bonus lacks of it', () => {
  const json = randomWorldJson(3, 4, 6);
  const world = parseWorld(json, 'world');
  const position = new Map(world.states.map(({ prefix }, s) => [prefix.join('-'), s]));
  const naive = (of: WorldJson): number => {
    const rows = new Map(of.student.map((e) => [e.prefix.join('-'), naiveLogSoftmax(e.logits)]));
    const entropyAt = (key: string): number => -sum(rows.get(key)!.map((l) => Math.exp(l) * l));
    return sum(naiveSequences(of).map(({ keys, logq }) => Math.exp(sum(logq)) * sum(keys.map(entropyAt))));
  };
  const found = entropyExact(world);
  expect(found.value).toBeCloseTo(naive(json), 12);
  const { sequences } = enumerate(world);
  const q = population(enumerate(world), 0).probabilities;
  const h = 1e-5;
  json.student.forEach(({ prefix, logits }, entry) => {
    logits.forEach((z, v) => {
      const at = (value: number): number =>
        naive({ ...json, student: json.student.with(entry, { prefix, logits: logits.with(v, value) }) });
      const state = position.get(prefix.join('-'))!;
      const i = state * json.vocab + v;
      expect(found.gradient[i], `[${prefix}] ${v}`).toBeCloseTo((at(z + h) - at(z - h)) / (2 * h), 8);
      // E Σ_t ∇ln q(y_t) Σ_{k>t} H_k, over the sequences.
      let lacks = 0;
      sequences.forEach(({ tokens, states }, row) => {
        const t = states.indexOf(state);
        if (t < 0) return;
        const later = [...states.slice(t + 1)].map(
          (s) => -sum([...world.states[s]!.logq].map((l) => Math.exp(l) * l)),
        );
        lacks += q[row]! * ((tokens[t] === v ? 1 : 0) - Math.exp(world.states[state]!.logq[v]!)) * sum(later);
      });
      expect(found.gradient[i]! - found.atStates[i]!).toBeCloseTo(lacks, 12);
    });
  });
});

describe('the variance with the exact value of every action', () => {
  const world = randomWorldJson(3, 3, 5);

  /** Cost from a state on, by recursion. */
  function costFrom(json: WorldJson, prefix: number[]): number {
    const logits = (entries: WorldJson['student']) =>
      naiveLogSoftmax(entries.find((e) => e.prefix.join() === prefix.join())!.logits);
    const [logq, logp] = [logits(json.student), logits(json.teacher)];
    return sum(
      logq.map((l, v) => {
        const ends = v === json.eos || prefix.length + 1 === json.horizon;
        return Math.exp(l) * (l - logp[v]! + (ends ? 0 : costFrom(json, [...prefix, v])));
      }),
    );
  }

  it('is that of the sum of the slopes of the cost at the visited states', () => {
    const h = 1e-5;
    const share = new Map(
      world.student.map(({ prefix, logits }, entry) => {
        const slopes = logits.map((z, v) => {
          const at = (value: number) => {
            const student = world.student.with(entry, { prefix, logits: logits.with(v, value) });
            return costFrom({ ...world, student }, prefix);
          };
          return (at(z + h) - at(z - h)) / (2 * h);
        });
        return [prefix.join('-'), slopes];
      }),
    );
    const columns = [...share.keys()];
    const mean = columns.map(() => [0, 0, 0]);
    let second = 0;
    for (const { keys, logq } of naiveSequences(world)) {
      const probability = Math.exp(sum(logq));
      for (const key of keys) {
        share.get(key)!.forEach((x, v) => {
          mean[columns.indexOf(key)]![v]! += probability * x;
          second += probability * x * x;
        });
      }
    }
    const expected = second - sum(mean.flat().map((x) => x * x));
    const enumeration = enumerate(parseWorld(world, 'world'));
    expect(floorVariance(enumeration, reverseKlExact(enumeration.world))).toBeCloseTo(expected, 8);
    expect(expected).toBeGreaterThan(0.01);
  });

  it('is below every unbiased estimator of single samples, and 0 with one state', () => {
    const result = runOracle(parseWorld(world, 'world'), { samples: [2] });
    for (const row of result.estimators) {
      if (row.claims_unbiased && row.alpha === 0 && row.sampling === 'independent')
        expect(row.variance).toBeGreaterThan(result.floor_variance);
    }
    const one = randomWorldJson(3, 1, 5);
    expect(runOracle(parseWorld(one, 'world'), { samples: [2] }).floor_variance).toBeCloseTo(0, 14);
  });

  it.each([
    ['the KL', randomWorldJson(3, 4, 5)],
    ['a task and half the KL', withTask(randomWorldJson(3, 3, 6), 0.5)],
  ])('is what action-value reaches with an exact Q and returns that are Q themselves: %s', (_, json) => {
    const found = runOracle(parseWorld(json, 'world'), { samples: [2], parameters: { gae_lambda: 0 } });
    const rows = found.estimators.filter(
      (r) => r.baseline === 'action-value' && r.sampling === 'independent' && r.alpha === 0,
    );
    // Bootstrapped after one step: of the return only V(s_{t+1}) is left, which is Q(s_t, y_t) but for the sampled reward there.
    const reached = rows.filter(
      (r) =>
        r.values === 'exact' &&
        (r.returns === 'gae-rao-blackwell' || (r.returns === 'gae' && !r.single_step)),
    );
    expect(reached).toHaveLength(3 * 4);
    for (const r of reached) expect(r.variance / found.floor_variance).toBeCloseTo(1, 10);
    // The noise of what follows y_t stays in every other return, and half a Q takes less away.
    const others = rows.filter((r) => !reached.includes(r));
    expect(others.length).toBeGreaterThan(0);
    for (const r of others) expect(r.variance).toBeGreaterThan(1.001 * found.floor_variance);
  });
});

it('by hand: one step, q = 1/2 1/2, p = 3/4 1/4', () => {
  const world = parseWorld(
    {
      vocab: 2,
      horizon: 1,
      eos: 0,
      student: [{ prefix: [], logits: [0, 0] }],
      teacher: [{ prefix: [], logits: [Math.log(3), 0] }],
    },
    'world',
  );
  // KL = (ln(2/3) + ln 2)/2 = 0.143841; gradient q(ln q/p − KL) = (−0.405465 − 0.143841)/2 = −0.274653
  const { value, gradient } = reverseKlExact(world);
  expect(value).toBeCloseTo(0.143841, 6);
  expect(gradient[0]).toBeCloseTo(-0.274653, 6);
  expect(gradient[1]).toBeCloseTo(0.274653, 6);
});

it('by hand: one step, q = p = 1/2 1/2, a reward of 1 for the first token', () => {
  const half = [{ prefix: [], logits: [0, 0] }];
  const task = { reward: [{ prefix: [], values: [1, 0] }], kl_coef: 2 };
  const world = parseWorld({ vocab: 2, horizon: 1, eos: 0, student: half, teacher: half, ...task }, 'world');
  // E[ρ] = 1/2; its gradient q (ρ − 1/2) = ±1/4, minimised with the other sign.
  expect(objectiveExact(world)).toEqual({ value: -0.5, gradient: Float64Array.of(-0.25, 0.25) });
  expect(reverseKlExact(world)).toEqual({ value: 0, gradient: Float64Array.of(0, 0) });
  expect(runOracle(world, { samples: [2] }).task).toEqual({ reward: 0.5, kl_coef: 2 });
});

/** Another EOS and entries in another order. */
function shuffled(vocab: number, horizon: number): WorldJson {
  const json = randomWorldJson(vocab, horizon, 2);
  const rename = (entries: WorldJson['student']) =>
    entries.map(({ prefix, logits }) => ({ prefix: prefix.map((v) => v - 1), logits })).reverse();
  return { ...json, eos: vocab - 1, student: rename(json.student), teacher: rename(json.teacher) };
}
