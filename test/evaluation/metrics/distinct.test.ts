import { describe, expect, it } from 'vitest';
import {
  distinctN,
  distinctPerPrompt,
  promptDiversity,
  sampleDiversity,
} from '../../../src/evaluation/metrics/distinct.js';
import { ngrams } from '../../../src/evaluation/metrics/ngrams.js';

describe('ngrams', () => {
  it('never confuses two different n-grams', () => {
    expect(
      new Set([
        ...ngrams(['a b', 'c'], 2),
        ...ngrams(['a', 'b c'], 2),
        ...ngrams(['1', 2], 2),
        ...ngrams([1, '2'], 2),
      ]).size,
    ).toBe(4);
    expect(ngrams(Int32Array.of(1, 2, 3), 2)).toEqual(['[1,2]', '[2,3]']);
    expect(ngrams([1], 2)).toEqual([]);
    expect(() => ngrams([1], 0)).toThrow(RangeError);
  });
});

describe('distinctN', () => {
  const responses = [
    [1, 2, 1, 2, 1],
    [1, 2, 3],
  ];
  it('divides different n-grams by all n-grams of all responses', () => {
    expect(distinctN(responses, 1)).toBe(3 / 8);
    expect(distinctN(responses, 2)).toBe(3 / 6); // 12 21 12 21 | 12 23
    expect(distinctN(responses, 3)).toBe(3 / 4); // 121 212 121 | 123
    expect(distinctN(responses, 4)).toBe(2 / 2);
    expect(distinctN(responses, 6)).toBeNaN();
  });

  it('counts within each prompt for distinctPerPrompt', () => {
    expect(distinctPerPrompt([responses, [[7, 7], [7]]], 1)).toEqual([3 / 8, 1 / 3]);
  });
});

describe('sampleDiversity', () => {
  it('is one minus the mean Rouge-L over the pairs of samples of a prompt', () => {
    // Pairs: "a b c"/"a b" 0.8, "a b c"/"x" 0, "a b"/"x" 0.
    expect(promptDiversity(['a b c', 'a b', 'x'])).toBeCloseTo(1 - 0.8 / 3, 12);
    expect(
      sampleDiversity([
        ['dog', 'Dog!'],
        ['dog', 'cat'],
      ]),
    ).toEqual([0, 1]);
  });

  it('counts two empty answers as the same answer', () => {
    expect(promptDiversity(['', ' '])).toBe(0);
    expect(promptDiversity(['', 'word'])).toBe(1);
    expect(() => promptDiversity(['one'])).toThrow(RangeError);
  });
});
