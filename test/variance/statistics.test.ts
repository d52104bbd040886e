import { describe, expect, it } from 'vitest';
import { normal, stream } from '../../src/random/streams.js';
import { gram } from '../../src/variance/gradientSpace.js';
import { type Products, varianceStatistics } from '../../src/variance/statistics.js';

const products = (own: number[][], reference: number[][], rollouts = 8): Products => {
  const [a, b] = [own, reference].map((rows) => rows.map((row) => Float32Array.from(row))) as [
    Float32Array[],
    Float32Array[],
  ];
  return { own: gram(a, a), cross: gram(a, b), reference: gram(b, b), rollouts };
};

describe('varianceStatistics', () => {
  it('three repeats in the plane, by hand', () => {
    const own = [
      [1, 0],
      [3, 2],
      [2, 1],
    ];
    const reference = [
      [1, 1],
      [1, 1],
      [1, 1],
    ];
    const found = varianceStatistics(products(own, reference), { seed: 1, target: 2, resamples: 10 });
    // tr Cov = (|(−1,−1)|² + |(1,1)|² + 0) / 2; pairs 3, 2, 8; cross sums 1, 5, 3.
    expect(found.variance.value).toBeCloseTo(2, 12);
    expect(found.squared_norm.value).toBeCloseTo(13 / 3, 12);
    expect(found.signal_to_noise.value).toBeCloseTo(13 / 6, 12);
    expect(found.rollouts_needed.value).toBeCloseTo((8 * 2 * 6) / 13, 12);
    expect(found.cosine.value).toBeCloseTo(3 / Math.sqrt((13 / 3 + 2) * 2), 12);
    expect(found.mean_cosine.value).toBeCloseTo(3 / Math.sqrt((13 / 3) * 2), 12);
  });

  it('is unbiased where the norm of a mean is not: repeats of pure noise have no signal', () => {
    const rng = stream(1, 'noise');
    const noise = Array.from({ length: 40 }, () => Array.from({ length: 50 }, () => normal(rng)));
    const found = varianceStatistics(products(noise, noise), { seed: 1 });
    expect(found.variance.value).toBeGreaterThan(47);
    expect(found.variance.value).toBeLessThan(53);
    // The squared norm of the mean is 50/40 on average; what is left of it here is chance.
    expect(Math.abs(found.squared_norm.value)).toBeLessThan(0.6);
    expect(found.signal_to_noise.interval[0]).toBe(0);
    expect(found.rollouts_needed.interval[1]).toBe(Number.POSITIVE_INFINITY);
  });

  it('the interval covers the truth about as often as it says', () => {
    const rng = stream(2, 'coverage');
    const scale = [3, 2, 1, 1, 1];
    const truth = { variance: 16, squared_norm: 5 };
    let covered = { variance: 0, squared_norm: 0 };
    const trials = 200;
    for (let trial = 0; trial < trials; trial++) {
      const repeats = Array.from({ length: 24 }, () => scale.map((s) => 1 + s * normal(rng)));
      const found = varianceStatistics(products(repeats, repeats), { seed: trial, resamples: 200 });
      const within = (name: keyof typeof truth): number => {
        const [low, high] = found[name].interval;
        return low <= truth[name] && truth[name] <= high ? 1 : 0;
      };
      covered = {
        variance: covered.variance + within('variance'),
        squared_norm: covered.squared_norm + within('squared_norm'),
      };
    }
    // A percentile bootstrap of 24 skewed values promises a little too much; 95 % it is not far from.
    expect(covered.variance / trials).toBeGreaterThan(0.85);
    expect(covered.squared_norm / trials).toBeGreaterThan(0.85);
  });

  it('the reference against itself needs once its own rollouts, in every resample', () => {
    const rng = stream(3, 'self');
    const rows = Array.from({ length: 12 }, () => Array.from({ length: 6 }, () => 1 + normal(rng)));
    const found = varianceStatistics(products(rows, rows), { seed: 1 });
    expect(found.relative_rollouts).toEqual({ value: 1, interval: [1, 1] });
    expect(found.relative_variance).toEqual({ value: 1, interval: [1, 1] });
    expect(found.mean_cosine.value).toBeCloseTo(1, 12);
    // Twice the gradient: four times the variance, the same rollouts.
    const twice = varianceStatistics(
      products(
        rows.map((row) => row.map((x) => 2 * x)),
        rows,
      ),
      { seed: 1 },
    );
    expect(twice.relative_variance.value).toBeCloseTo(4, 5);
    expect(twice.relative_rollouts.value).toBeCloseTo(1, 5);
    // The same seed, the same numbers.
    expect(varianceStatistics(products(rows, rows), { seed: 1 })).toEqual(found);
    expect(varianceStatistics(products(rows, rows), { seed: 2 }).variance.interval).not.toEqual(
      found.variance.interval,
    );
  });

  it('one repeat has no variance', () => {
    expect(() => varianceStatistics(products([[1]], [[1]]), { seed: 1 })).toThrow(
      '1 repeats, expected at least 2',
    );
  });
});
