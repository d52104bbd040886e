import { describe, expect, it } from 'vitest';
import { readEvaluation } from '../../src/report/evaluationFile.js';

describe('readEvaluation', () => {
  it('takes what can be trusted and leaves the rest', () => {
    const curves = {
      length: { edges: [1, 2, 3], counts: [4, 6] },
      reward: { edges: [1, 0], counts: [4] },
      calibration: [
        { low: 0, high: 0.1, count: 0, confidence: null, accuracy: null },
        { low: 0.1, high: 0.2, count: 3, confidence: 0.15, accuracy: 0.1 },
        'x',
      ],
      answer_calibration: [{ count: 0 }],
      exposure_bias: {
        student_error: [1, 2],
        teacher_error: [1, 1.5],
        excess_percent: [0, null],
        excess_stderr: [0, null],
        reached: [1, 0.5],
        at: 1,
      },
    };
    const found = readEvaluation({
      metrics: { length: { mean: 3, stderr: null, n: 2, interval: [1, 'x'] }, odd: { mean: null }, worse: 7 },
      per_prompt: { length: [1, 2], odd: [1, null], none: [] },
      prompt_set: 'abc',
      data: 5,
      curves,
      steps: 4,
    });
    expect(found).toEqual({
      metrics: { length: { mean: 3, stderr: null, n: 2 }, steps: { mean: 4, stderr: null, n: 1 } },
      perPrompt: { length: [1, 2] },
      notes: [],
      promptSet: 'abc',
      prompts: null,
      data: null,
      curves: {
        length: { edges: [1, 2, 3], counts: [4, 6] },
        calibration: [{ count: 3, confidence: 0.15, accuracy: 0.1 }],
        exposure: {
          ...{ student: [1, 2], teacher: [1, 1.5], excess: [0, null], stderr: [0, null], reached: [1, 0.5] },
        },
      },
    });
  });

  it.each([
    ['no object', [] as unknown],
    ['lists of different lengths', { student_error: [1], teacher_error: [1, 2], reached: [1] }],
    [
      'a word',
      { student_error: ['1'], teacher_error: [1], excess_percent: [0], excess_stderr: [0], reached: [1] },
    ],
    [
      'nothing in it',
      { student_error: [], teacher_error: [], excess_percent: [], excess_stderr: [], reached: [] },
    ],
  ])('draws no exposure curve from %s', (_, exposure_bias) => {
    expect(readEvaluation({ curves: { exposure_bias } }).curves).toEqual({});
  });

  it.each([
    ['more counts than bins', { edges: [0, 1], counts: [1, 2] }],
    ['nothing counted', { edges: [0, 1], counts: [0] }],
    ['a negative count', { edges: [0, 1, 2], counts: [3, -1] }],
    ['a number that is none', { edges: [0, null], counts: [1] }],
  ])('draws no distribution from %s', (_, length) => {
    expect(readEvaluation({ curves: { length } }).curves).toEqual({});
  });
});
