import { describe, expect, it } from 'vitest';
import { responseStream, type SamplingSchemeName, samplingSchemeNames } from '../../src/rollout/uniforms.js';

const numbers = (
  scheme: SamplingSchemeName,
  sample: number,
  samples: number,
  count: number,
  promptIndex = 3,
) => {
  const { rng } = responseStream(scheme, { seed: 1, round: 2, promptIndex, sample, samples });
  return Array.from({ length: count }, rng);
};

describe('sampling schemes', () => {
  it('antithetic: a pair uses u and 1 − u, another pair other numbers', () => {
    const [a, b, c, d] = [0, 1, 2, 3].map((sample) => numbers('antithetic', sample, 4, 50));
    a!.forEach((u, t) => {
      expect(b![t]).toBeCloseTo(1 - u, 15);
      expect(d![t]).toBeCloseTo(1 - c![t]!, 15);
    });
    expect(c).not.toEqual(a);
  });

  it('stratified: one number in each of K equal strata at every step, afresh at every step', () => {
    const K = 5;
    const rows = Array.from({ length: K }, (_, sample) => numbers('stratified', sample, K, 60));
    for (let t = 0; t < 60; t++) {
      const sorted = rows.map((row) => row[t]!).sort((x, y) => x - y);
      sorted.forEach((u, i) => {
        expect(Math.floor(u * K)).toBe(i);
        expect(u - sorted[0]!).toBeCloseTo(i / K, 12);
      });
    }
    expect(new Set(rows[0]).size).toBe(60);
  });

  it.each(samplingSchemeNames)('%s: every sample alone is uniform, step by step', (scheme) => {
    for (const sample of [0, 1, 3]) {
      // Across prompts: the law of the numbers at one step of one sample.
      const n = 4000;
      const bins = new Array<number>(10).fill(0);
      let product = 0;
      for (let prompt = 0; prompt < n; prompt++) {
        const [first, second] = numbers(scheme, sample, 4, 2, prompt) as [number, number];
        expect(second).toBeGreaterThanOrEqual(0);
        expect(second).toBeLessThan(1);
        bins[Math.floor(second * 10)]!++;
        product += (first - 0.5) * (second - 0.5);
      }
      const chi2 = bins.reduce((sum, count) => sum + (count - n / 10) ** 2 / (n / 10), 0);
      expect(chi2).toBeLessThan(27.9); // 9 degrees of freedom, p = 0.001
      expect(Math.abs((product / n) * 12)).toBeLessThan(0.06); // correlation of two steps
    }
  });

  it('numbers depend on the address alone, and the address names the scheme', () => {
    expect(numbers('stratified', 2, 4, 5)).toEqual(numbers('stratified', 2, 4, 5));
    const address = { seed: 1, round: 2, promptIndex: 3, sample: 1, samples: 4 };
    expect(responseStream('independent', address).key).toBe('1/rollout/2/3/1');
    expect(responseStream('antithetic', address).key).toBe('1/rollout/2/3/1/antithetic/4');
  });
});
