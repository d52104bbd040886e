import { describe, expect, it } from 'vitest';
import { exposureBias } from '../../../src/evaluation/metrics/exposureBias.js';

describe('exposureBias', () => {
  it('has the numbers worked out by hand', () => {
    // Student: step means (1+3)/2 = 2, 4 (only the second row still runs), cumulative 2, 3.
    // Teacher: step means 1, 2, 3, cumulative 1, 1.5, 2; cut to the student's two steps.
    const result = exposureBias([[1], [3, 4]], [Float32Array.of(1, 2, 3)]);
    expect(result.studentError).toEqual([2, 3]);
    expect(result.teacherError).toEqual([1, 1.5]);
    expect(result.excessPercent).toEqual([100, 100]);
  });

  it('is zero for equal errors, negative for a student that does better, null over a zero error', () => {
    expect(exposureBias([[2, 2]], [[2, 2]]).excessPercent).toEqual([0, 0]);
    expect(exposureBias([[1, 2]], [[2, 2]]).excessPercent).toEqual([-50, -25]);
    expect(exposureBias([[1, 1]], [[0, 2]]).excessPercent).toEqual([null, 0]);
    expect(exposureBias([], [[1]]).excessPercent).toEqual([]);
  });
});
