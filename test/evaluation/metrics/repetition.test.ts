import { describe, expect, it } from 'vitest';
import { repetitionRate, responseShape } from '../../../src/evaluation/metrics/repetition.js';

describe('repetitionRate', () => {
  it('is the share of 4-grams seen before in the same response', () => {
    expect(repetitionRate([1, 1, 1, 1, 1, 1, 1])).toBe(3 / 4); // four times 1111
    expect(repetitionRate([1, 2, 3, 4, 1, 2, 3, 4])).toBe(1 / 5);
    expect(repetitionRate([1, 2, 3, 4, 5])).toBe(0);
    expect(repetitionRate([1, 1, 1])).toBe(0);
    expect(repetitionRate([5, 5, 5], 2)).toBe(1 / 2);
  });
});

describe('responseShape', () => {
  it('summarises length, ended, empty and repetition', () => {
    const shape = responseShape([
      { tokens: Int32Array.of(0), text: ' \n', finished: true },
      { tokens: [1, 1, 1, 1, 1, 1, 1], text: 'a a a', finished: false },
      { tokens: [1, 2, 3, 0], text: 'a b c', finished: true },
    ]);
    expect(shape.length.mean).toBe(4);
    expect(shape.length.stderr).toBeCloseTo(3 / Math.sqrt(3), 12);
    expect(shape.ended.mean).toBeCloseTo(2 / 3, 12);
    expect(shape.empty.mean).toBeCloseTo(1 / 3, 12);
    expect(shape.repetition).toMatchObject({ mean: 0.25, n: 3 });
  });
});
