import { describe, expect, it } from 'vitest';
import {
  bootstrapInterval,
  overSeeds,
  pairedDifference,
  summarize,
} from '../../../src/evaluation/metrics/statistics.js';
import { normal, stream } from '../../../src/random/streams.js';

describe('summarize', () => {
  it('gives the mean and s/√n with n−1', () => {
    const { mean, stderr, n } = summarize([2, 4, 4, 4, 5, 5, 7, 9]);
    expect(mean).toBe(5);
    expect(stderr).toBeCloseTo(Math.sqrt(32 / 7 / 8), 12);
    expect(n).toBe(8);
  });

  it('has no standard error for one value, refuses none, and does not change its input', () => {
    expect(summarize([3])).toEqual({ mean: 3, stderr: null, n: 1 });
    expect(() => summarize([])).toThrow(RangeError);
    const frozen = Object.freeze([3, 1, 2]);
    expect(summarize(frozen).mean).toBe(2);
  });
});

describe('bootstrapInterval', () => {
  const rng = stream(1, 'test');
  const values = Array.from({ length: 400 }, () => 10 + 2 * normal(rng));

  it('is close to mean ± 1.96 standard errors for many values', () => {
    const { mean, stderr } = summarize(values);
    const [low, high] = bootstrapInterval(values, { seed: 7 });
    expect(Math.abs(low - (mean - 1.96 * stderr!))).toBeLessThan(0.15 * stderr!);
    expect(Math.abs(high - (mean + 1.96 * stderr!))).toBeLessThan(0.15 * stderr!);
  });

  it('enumerates the four resamples of two values: 0, 1/2 (twice), 1', () => {
    expect(bootstrapInterval([0, 1], { seed: 1 })).toEqual([0, 1]); // 2.5 % is below the quarter that is all zero
    expect(bootstrapInterval([0, 1], { seed: 1, level: 0.4 })).toEqual([0.5, 0.5]);
  });

  it('is the same for the same address and another for another name', () => {
    const same = bootstrapInterval(values, { seed: 7, name: 'a' });
    expect(bootstrapInterval(values, { seed: 7, name: 'a' })).toEqual(same);
    expect(bootstrapInterval(values, { seed: 7, name: 'b' })).not.toEqual(same);
    expect(bootstrapInterval(values, { seed: 8, name: 'a' })).not.toEqual(same);
  });

  it('does not dress up a non-finite value', () => {
    expect(bootstrapInterval([1, Number.NaN], { seed: 1 })).toEqual([Number.NaN, Number.NaN]);
    expect(() => bootstrapInterval([], { seed: 1 })).toThrow(RangeError);
  });
});

describe('overSeeds', () => {
  it('takes the standard error over seeds and the interval over prompts', () => {
    const result = overSeeds(
      [
        [0, 10, 20],
        [2, 12, 22],
        [4, 14, 24],
      ],
      { seed: 3 },
    ); // seed means 10, 12, 14
    expect(result.mean).toBe(12);
    expect(result.stderr).toBeCloseTo(2 / Math.sqrt(3), 12);
    expect(result.n).toBe(3);
    expect(result.interval).toEqual(bootstrapInterval([2, 12, 22], { seed: 3 }));
  });

  it('refuses seeds with different prompts', () => {
    expect(() => overSeeds([[1, 2], [1]], { seed: 3 })).toThrow(RangeError);
    expect(() => overSeeds([], { seed: 3 })).toThrow(RangeError);
  });
});

describe('pairedDifference', () => {
  it('removes what both methods share', () => {
    const hardness = [0, 50, 100, 20];
    const a = hardness.map((h, i) => h + [1, 2, 1, 2][i]!);
    const result = pairedDifference(a, hardness, { seed: 3 });
    expect(result.mean).toBe(1.5);
    expect(result.stderr).toBeCloseTo(Math.sqrt(1 / 3 / 4), 12);
    expect(result.interval![0]).toBeGreaterThanOrEqual(1);
    expect(result.interval![1]).toBeLessThanOrEqual(2);
    expect(() => pairedDifference([1], [1, 2], { seed: 3 })).toThrow(RangeError);
  });
});
