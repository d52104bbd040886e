import { describe, expect, it } from 'vitest';
import { baselines } from '../../src/objectives/baselines.js';
import { type ObjectiveConfig, presets } from '../../src/objectives/presets.js';
import { batchOf, type Enumeration, enumerate, population } from '../../src/oracle/enumeration.js';
import { estimatorMoments } from '../../src/oracle/estimator.js';
import { gradientsOf, meanGradient } from '../../src/oracle/gradients.js';
import { dot } from '../../src/oracle/space.js';
import { randomWorld } from './worlds.js';

const plain: ObjectiveConfig = { ...presets.paper, cliprange: 0, length_norm: 'off' };

/** All ways of drawing K sequences, with their probability. */
function* tuples(
  probabilities: ArrayLike<number>,
  samples: number,
): Generator<{ rows: number[]; probability: number }> {
  if (samples === 0) {
    yield { rows: [], probability: 1 };
    return;
  }
  for (const rest of tuples(probabilities, samples - 1)) {
    for (let i = 0; i < probabilities.length; i++) {
      yield { rows: [...rest.rows, i], probability: rest.probability * probabilities[i]! };
    }
  }
}

/** E and K·Var of the mean gradient over every K-tuple, batch statistics by the code that training runs. */
function enumerateBatches(enumeration: Enumeration, config: ObjectiveConfig, samples: number) {
  const { world, sequences } = enumeration;
  const size = world.states.length * world.vocab;
  const mean = new Float64Array(size);
  let second = 0;
  let total = 0;
  for (const { rows, probability } of tuples(population(enumeration, config.alpha).probabilities, samples)) {
    const drawn = rows.map((i) => sequences[i]!);
    const batch = { ...batchOf(world, drawn, config.alpha), groups: rows.map(() => 0) };
    const g = meanGradient(enumeration, gradientsOf(drawn, batch, config));
    for (let i = 0; i < size; i++) mean[i]! += probability * g[i]!;
    second += probability * dot(g, g);
    total += probability;
  }
  expect(total).toBeCloseTo(1, 12);
  return { mean, variance: samples * (second - dot(mean, mean)) };
}

describe('baselines of K samples by algebra equal the enumeration of all K-tuples', () => {
  it.each([
    [2, { alpha: 0 }],
    [2, { alpha: 0.2, importance: 'prefix', returns: 'rao-blackwell' }],
    // E[score] is not 0 without the weight: every term of the algebra counts
    [2, { alpha: 0.6, importance: 'none' }],
    [2, { alpha: 0.6, importance: 'none', single_step: false, include_r_t: true, length_norm: 'remaining' }],
  ] as const)('K %i, vocabulary 3, horizon 3, %j', (samples, overrides) => {
    for (const baseline of ['leave-one-out', 'group-normalised'] as const)
      check(enumerate(randomWorld(3, 3, 4)), samples, { ...plain, ...overrides, baseline });
  });
  it.each([
    [3, { alpha: 0.6, importance: 'none' }],
    [4, { alpha: 0.6, importance: 'none', returns: 'rao-blackwell' }],
    [4, { alpha: 0.2, importance: 'token' }],
  ] as const)('K %i, vocabulary 2, horizon 4, %j', (samples, overrides) => {
    for (const baseline of ['leave-one-out', 'group-normalised'] as const)
      check(enumerate(randomWorld(2, 4, 5)), samples, { ...plain, ...overrides, baseline });
  });

  function check(enumeration: Enumeration, samples: number, config: ObjectiveConfig) {
    const found = estimatorMoments(enumeration, config, { samples });
    const { mean, variance } = enumerateBatches(enumeration, config, samples);
    expect(found.variance).toBeCloseTo(variance, 11);
    mean.forEach((x, i) => {
      expect(found.expectation[i]).toBeCloseTo(x, 12);
    });
  }

  it('refuses K = 1 and a clip', () => {
    const enumeration = enumerate(randomWorld(2, 2, 6));
    const config: ObjectiveConfig = { ...plain, baseline: 'leave-one-out' };
    expect(() => estimatorMoments(enumeration, config, { samples: 1 })).toThrow(
      'at least 2 samples per prompt, got 1',
    );
    expect(() => estimatorMoments(enumeration, { ...config, cliprange: 0.2 }, { samples: 2 })).toThrow(
      'no clip and no whitening',
    );
  });
});

describe('a position mean that contains the row itself', () => {
  // The long-term part alone: no single step. Claim: the term at t of a batch of B rows is that of a large batch times
  // E[(n_t − 1)/n_t | this row alive at t], and its direction stays.
  it.each([
    [2, 3, 3],
    [3, 2, 4],
    [4, 2, 3],
  ])('shrinks the term at t by (n_t − 1)/n_t: %i rows, vocabulary %i, horizon %i', (rows, vocab, horizon) => {
    const enumeration = enumerate(randomWorld(vocab, horizon, 7));
    const config: ObjectiveConfig = { ...plain, alpha: 0, single_step: false, baseline: 'position' };
    const { world, sequences } = enumeration;
    const { probabilities, ...everything } = population(enumeration, 0);
    const exact = meanGradient(
      enumeration,
      gradientsOf(sequences, { ...everything, probabilities }, { ...config, baseline: 'none' }),
    );
    const { mean } = enumerateBatches(enumeration, config, rows);
    let shrunk = 0;
    world.states.forEach(({ prefix }, s) => {
      const t = prefix.length;
      const alive = sequences.reduce((sum, y, i) => sum + (y.tokens.length > t ? probabilities[i]! : 0), 0);
      // n_t = 1 + Binomial(B − 1, alive)
      let factor = 0;
      for (let others = 0; others < rows; others++) {
        const chance = choose(rows - 1, others) * alive ** others * (1 - alive) ** (rows - 1 - others);
        factor += (chance * others) / (others + 1);
      }
      for (let v = 0; v < vocab; v++) {
        const i = s * vocab + v;
        expect(mean[i], `state ${prefix} token ${v}`).toBeCloseTo(factor * exact[i]!, 13);
        if (Math.abs(exact[i]!) > 1e-3) shrunk++;
      }
    });
    expect(shrunk).toBeGreaterThan(0);
  });

  function choose(n: number, k: number): number {
    return k === 0 ? 1 : (choose(n - 1, k - 1) * n) / k;
  }

  it('while leave-one-out keeps it whole', () => {
    const enumeration = enumerate(randomWorld(3, 3, 7));
    const config: ObjectiveConfig = { ...plain, alpha: 0, single_step: false, baseline: 'none' };
    const exact = meanGradient(
      enumeration,
      gradientsOf(enumeration.sequences, population(enumeration, 0), config),
    );
    const { mean } = enumerateBatches(enumeration, { ...config, baseline: 'leave-one-out' }, 2);
    mean.forEach((x, i) => {
      expect(x).toBeCloseTo(exact[i]!, 13);
    });
    expect(baselines['leave-one-out'].unbiased).toBe(true);
  });
});

it('the squared norm of a sampled gradient is that of its dense vector', () => {
  const enumeration = enumerate(randomWorld(3, 3, 8));
  const { space, sequences, world } = enumeration;
  const gradients = gradientsOf(sequences, batchOf(world, sequences, 0), { ...plain, alpha: 0 });
  for (const gradient of gradients) {
    const dense = meanGradient(enumeration, [{ ...gradient, probability: 1 }]);
    expect(space.inner(gradient, gradient)).toBeCloseTo(dot(dense, dense), 12);
    expect(dot(dense, dense)).toBeGreaterThan(0);
  }
});
