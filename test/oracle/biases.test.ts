import { describe, expect, it } from 'vitest';
import { advantages } from '../../src/objectives/advantages.js';
import { presets } from '../../src/objectives/presets.js';
import { costOfSample } from '../../src/oracle/cost.js';
import { enumerate, population } from '../../src/oracle/enumeration.js';
import { judgeOf } from '../../src/oracle/estimator.js';
import { gradientsOf, meanGradient } from '../../src/oracle/gradients.js';
import { type EstimatorRow, runOracle } from '../../src/oracle/oracle.js';
import { dot } from '../../src/oracle/space.js';
import { randomWorld } from './worlds.js';

/**
 * What the forms that are biased by design cost, measured on two worlds of vocabulary 3 and horizon 4: independent
 * models, and a student close to its teacher. Literal numbers: a change of any of them is a change of the mathematics.
 */
const independent = runOracle(randomWorld(3, 4, 1));
const close = runOracle(randomWorld(3, 4, 2, 0.3));

const find = (rows: readonly EstimatorRow[], wanted: Partial<EstimatorRow>): EstimatorRow => {
  const found = rows.filter((row) =>
    Object.entries({ sampling: 'independent', ...wanted }).every(
      ([k, v]) => row[k as keyof EstimatorRow] === v,
    ),
  );
  expect(found, JSON.stringify(wanted)).toHaveLength(1);
  return found[0]!;
};
const expectBias = (row: EstimatorRow, [bias, cosine]: readonly [number, number]) => {
  expect(row.claims_unbiased).toBe(false);
  expect(row.relative_bias).toBeCloseTo(bias, 5);
  expect(row.cosine).toBeCloseTo(cosine, 5);
};

describe('relative bias and cosine with the exact gradient', () => {
  // columns: independent models | close student
  it.each([
    ['r_t counted twice (single step with R_t)', [0.85715, 0.993327], [0.966129, 0.998031]],
    ['no r_t at all (R_{t+1} without single step)', [0.85715, 0.6238], [0.966129, 0.321187]],
    ['single step alone (nothing of the future)', [0.271902, 0.968777], [0.129966, 0.991852]],
    ['remaining, sampled', [0.077447, 0.998535], [0.176713, 0.990477]],
    ['remaining, rao-blackwell', [0.089374, 0.997171], [0.06443, 0.998112]],
    ['ratio of the response (GSPO)', [0.200364, 0.984724], [0.341988, 0.99255]],
    ['token weight, not on the single step', [0.180569, 0.98905], [0.052339, 0.99869]],
    ['preset minillm', [0.147344, 0.993775], [0.066445, 0.997922]],
    ['preset lmops', [0.325641, 0.979736], [5.685936, 0.96947]],
    ['preset paper', [0.195379, 0.983331], [0.167592, 0.991071]],
  ] as const)('%s', (name, far, near) => {
    expectBias(independent.forms.find((row) => row.name === name)!, far);
    expectBias(close.forms.find((row) => row.name === name)!, near);
  });

  const grid = (
    wanted: Partial<EstimatorRow>,
    far: readonly [number, number],
    near: readonly [number, number],
  ) =>
    it(JSON.stringify(wanted), () => {
      const full = { single_step: true, ...wanted };
      expectBias(find(independent.estimators, full), far);
      expectBias(find(close.estimators, full), near);
    });

  // Token weights, the paper's approximation: the states are still those of the mixture.
  const token = { baseline: 'none', importance: 'token', alpha: 0.2 } as const;
  grid({ ...token, returns: 'sampled' }, [0.180569, 0.98905], [0.052339, 0.99869]);
  grid({ ...token, returns: 'rao-blackwell' }, [0.113399, 0.995295], [0.019266, 0.999823]);
  // No weight at all.
  const none = { baseline: 'none', importance: 'none', alpha: 0.2 } as const;
  grid({ ...none, returns: 'sampled' }, [0.207571, 0.99026], [0.051471, 0.99876]);
  grid({ ...none, returns: 'rao-blackwell' }, [0.164066, 0.99634], [0.019888, 0.999803]);
  // Products cut at 1: less bias than token weights and less variance than either.
  const truncated = { baseline: 'position', importance: 'truncated', alpha: 0.2 } as const;
  grid({ ...truncated, returns: 'rao-blackwell' }, [0.110046, 0.996399], [0.009811, 0.999955]);
  grid({ ...truncated, baseline: 'none', returns: 'sampled' }, [0.191326, 0.993672], [0.027069, 0.999822]);
  // A critic that says half of the truth: what λ = 0.95 leaves of its error.
  const gae = { baseline: 'value', importance: 'none', alpha: 0, values: 'wrong' } as const;
  grid({ ...gae, returns: 'gae' }, [0.003555, 0.999998], [0.002036, 0.999998]);
  grid({ ...gae, returns: 'gae-rao-blackwell' }, [0.003555, 0.999998], [0.002036, 0.999998]);
  // Other samples of the prompt that are not independent, and groups rescaled by their own spread.
  const pair = { baseline: 'leave-one-out', importance: 'none', alpha: 0, samples: 2 } as const;
  const rb = { returns: 'rao-blackwell' } as const;
  grid({ ...pair, ...rb, sampling: 'antithetic' }, [0.161528, 0.987794], [0.085563, 0.997664]);
  grid({ ...pair, ...rb, sampling: 'stratified' }, [0.153595, 0.988186], [0.020962, 0.999877]);
  grid({ ...pair, ...rb, baseline: 'group-normalised' }, [0.100339, 0.995953], [5.297048, 0.532192]);
  // Whitening blows small rewards up: near the teacher it loses the direction.
  const whiten = { baseline: 'whiten', importance: 'none', alpha: 0 } as const;
  grid({ ...whiten, returns: 'sampled' }, [0.068155, 0.998456], [0.576796, 0.908195]);
  grid({ ...whiten, returns: 'rao-blackwell' }, [0.128047, 0.995733], [5.200233, 0.476656]);
  const padded = { baseline: 'whiten-padded', importance: 'none', alpha: 0 } as const;
  grid({ ...padded, returns: 'sampled' }, [0.053462, 0.999067], [0.7866, 0.859504]);
  grid({ ...padded, returns: 'rao-blackwell' }, [0.138428, 0.995077], [6.209234, 0.453773]);
});

describe('what counting twice does, exactly', () => {
  it('adds the single-step gradient once more: the two errors are opposite', () => {
    const [twice, never] = [0, 1].map((i) => independent.forms[i]!.relative_bias);
    expect(twice).toBeCloseTo(never!, 12);
  });
  it('w_t on the single-step term changes no expectation, only the variance', () => {
    const on = find(independent.estimators, {
      ...({ baseline: 'none', importance: 'token', alpha: 0.2 } as const),
      returns: 'sampled',
      single_step: true,
    });
    const off = independent.forms.find((row) => row.name.startsWith('token weight'))!;
    expect(off.relative_bias).toBeCloseTo(on.relative_bias, 12);
    expect(off.variance).not.toBeCloseTo(on.variance, 3);
  });
});

describe('variance of one sample, unbiased forms without mixing', () => {
  it.each([
    ['sampled', 'none', 1, 2.815749, 0.05906],
    ['sampled', 'position', 1, 2.387552, 0.058513],
    ['sampled', 'leave-one-out', 2, 4.919687, 0.090342],
    ['rao-blackwell', 'none', 1, 1.332934, 0.009824],
    ['rao-blackwell', 'batch', 1, 0.96893, 0.0093],
    ['rao-blackwell', 'position', 1, 0.904737, 0.009278],
    ['rao-blackwell', 'leave-one-out', 2, 1.562626, 0.009926],
    ['rao-blackwell', 'leave-one-out', 4, 1.129269, 0.009526],
    ['rao-blackwell', 'ema', 1, 0.96893, 0.0093],
    ['rao-blackwell', 'score-weighted', 1, 0.941945, 0.009267],
  ] as const)('single step, %s, %s K %i: %f and %f', (returns, baseline, samples, far, near) => {
    expectVariance({ returns, baseline, samples }, far, near);
  });

  it.each([
    ['rao-blackwell', 'exact', 0.903289, 0.009301],
    ['rao-blackwell', 'wrong', 0.939084, 0.009461],
    ['gae', 'exact', 2.290843, 0.056],
    ['gae-rao-blackwell', 'exact', 0.883954, 0.009264],
  ] as const)('%s less the value of a critic that is %s', (returns, values, far, near) => {
    expectVariance({ returns, baseline: 'value', values }, far, near);
  });

  it.each([
    ['antithetic', 2, 0.668621, 0.009617],
    ['antithetic', 4, 0.668621, 0.009617],
    ['stratified', 2, 0.657558, 0.008132],
    ['stratified', 4, 0.574072, 0.006203],
  ] as const)('%s, K %i', (sampling, samples, far, near) => {
    expectVariance({ returns: 'rao-blackwell', baseline: 'position', sampling, samples }, far, near);
  });

  function expectVariance(wanted: Partial<EstimatorRow>, far: number, near: number) {
    const full = { importance: 'none', alpha: 0, single_step: true, ...wanted } as const;
    expect(find(independent.estimators, full).variance).toBeCloseTo(far, 5);
    expect(find(close.estimators, full).variance).toBeCloseTo(near, 5);
  }

  it('score-weighted is the best constant: the variance grows to both sides of it, also under prefix weights', () => {
    const world = randomWorld(3, 4, 1);
    const enumeration = enumerate(world);
    const judge = judgeOf(enumeration);
    for (const alpha of [0, 0.4]) {
      const config = {
        ...presets.paper,
        ...({ alpha, cliprange: 0, length_norm: 'off', importance: 'prefix' } as const),
      };
      const best = judge.moments({ ...config, baseline: 'score-weighted' })!.variance;
      const batch = population(enumeration, alpha);
      const { returns, advantages: A } = advantages(batch, { ...config, baseline: 'score-weighted' });
      const b = returns[0]![0]! - A[0]![0]!;
      const at = (constant: number) => {
        // A critic that says the same everywhere is a constant baseline.
        const values = returns.map((row) => row.map(() => constant));
        const gradients = gradientsOf(
          enumeration.sequences,
          { ...batch, values },
          { ...config, baseline: 'value' },
        );
        const mean = meanGradient(enumeration, gradients);
        return gradients.reduce(
          (sum, g) => sum + g.probability * enumeration.space.inner(g, g),
          -dot(mean, mean),
        );
      };
      expect(at(b)).toBeCloseTo(best, 12);
      expect(at(b + 0.01)).toBeGreaterThan(best);
      expect(at(b - 0.01)).toBeGreaterThan(best);
      // The least of a parabola: equal on both sides.
      expect(at(b + 0.01) - at(b - 0.01)).toBeCloseTo(0, 12);
    }
  });
});

describe('what a sample costs', () => {
  it('by hand: 10 prompt tokens, 4 response tokens, a teacher twice as dear', () => {
    // prompt 10·3/K, sampling 4·3, update 3·14
    expect(costOfSample({ promptTokens: 10, teacher: 2 }, 4, 1, false)).toBe(84);
    expect(costOfSample({ promptTokens: 10, teacher: 2 }, 4, 4, false)).toBe(61.5);
    expect(costOfSample({ promptTokens: 10, teacher: 2 }, 4, 4, true)).toBe(75.5);
  });
  it('is the mean length in a tabular world: with mixing the responses are others', () => {
    for (const alpha of [0, 0.2]) {
      const row = independent.estimators.find((r) => r.alpha === alpha)!;
      const enumeration = enumerate(randomWorld(3, 4, 1));
      const { probabilities } = population(enumeration, alpha);
      const length = enumeration.sequences.reduce(
        (sum, s, i) => sum + probabilities[i]! * s.tokens.length,
        0,
      );
      expect(row.cost).toBeCloseTo(5 * length, 12);
      expect(row.variance_per_compute).toBeCloseTo(row.variance * row.cost, 12);
    }
  });
});
