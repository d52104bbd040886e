import { describe, expect, it } from 'vitest';
import { calibration } from '../../../src/evaluation/metrics/calibration.js';

describe('calibration', () => {
  it('has the value worked out by hand', () => {
    // Bin (0.8, 0.9]: 0.85 twice, one right: |1 − 1.7|. Bin (0.2, 0.3]: 0.25 right: |1 − 0.25|. Bin (0.9, 1]: 1 right: 0.
    const { ece, bins } = calibration([0.85, 0.85, 0.25, 1], [true, false, true, true]);
    expect(ece).toBeCloseTo((0.7 + 0.75 + 0) / 4, 12);
    expect(bins).toHaveLength(10);
    expect(bins[8]).toEqual({ low: 0.8, high: 0.9, count: 2, confidence: 0.85, accuracy: 0.5 });
    expect(bins[0]!.count).toBe(0);
    expect(bins[0]!.accuracy).toBeNaN();
  });

  it('puts 0 into the first bin, a boundary into the lower one, 1 into the last', () => {
    const { bins } = calibration([0, 0.5, 1], [0, 1, 1], 2);
    expect(bins.map((bin) => bin.count)).toEqual([2, 1]);
  });

  it('is 0 for a perfectly calibrated predictor and NaN for none', () => {
    const right = Array.from({ length: 10 }, (_, i) => i < 7);
    expect(calibration(new Float64Array(10).fill(0.7), right).ece).toBeCloseTo(0, 12);
    expect(calibration([], []).ece).toBeNaN();
  });

  it('refuses what is no probability', () => {
    expect(() => calibration([1.1], [true])).toThrow(RangeError);
    expect(() => calibration([Number.NaN], [true])).toThrow(RangeError);
    expect(() => calibration([0.5], [])).toThrow(RangeError);
  });
});
