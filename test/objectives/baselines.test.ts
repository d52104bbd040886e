import { describe, expect, it } from 'vitest';
import { type BaselineBatch, type BaselineName, baselines } from '../../src/objectives/baselines.js';
import { importances, mixedLogprob, samplingRatios } from '../../src/objectives/importance.js';

const close = (found: Float64Array[], expected: number[][]) => {
  expect(found.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  expected.forEach((row, i) => {
    row.forEach((x, t) => {
      expect(found[i]![t], `[${i}][${t}]`).toBeCloseTo(x, 12);
    });
  });
};

describe('baselines by hand, returns 1 2 6 | 3', () => {
  const returns = [[1, 2, 6], [3]];
  const check = (name: BaselineName, expected: number[][], more: Partial<BaselineBatch> = {}) =>
    it(`${name} ${JSON.stringify(more)}`, () => {
      close(baselines[name].advantages({ returns, ...more }), expected);
    });

  check('none', returns);
  check('batch', [[-2, -1, 3], [0]]); // mean of 4 tokens: 12/4 = 3
  check('position', [[-1, 0, 0], [1]]); // t 0: (1+3)/2 = 2; later one row alive, its own mean
  check('leave-one-out', [[-2, 2, 6], [2]], { groups: [7, 7] }); // the finished one counts 0
  // masked: mean 3, var (4+1+9+0)/4 = 3.5
  check(
    'whiten',
    [[-2, -1, 3], [0]].map((row) => row.map((x) => x / Math.sqrt(3.50000001))),
  );
  // padded, 2·3 slots: mean 12/6 = 2, var 50/6 − 4 = 13/3
  check(
    'whiten-padded',
    [[-1, 0, 4], [1]].map((row) => row.map((x) => x / Math.sqrt(13 / 3 + 1e-8))),
  );
  // padded, 2·4 slots: mean 1.5, var 50/8 − 2.25 = 4
  const wider = [[-0.5, 0.5, 4.5], [1.5]].map((row) => row.map((x) => x / Math.sqrt(4.00000001)));
  check('whiten-padded', wider, { slots: 4 });
  // weights 1/4, 3/4: batch mean (0.25·9 + 0.75·3)/(0.25·3 + 0.75) = 4.5/1.5 = 3; t 0: 0.25·1 + 0.75·3 = 2.5
  check('batch', [[-2, -1, 3], [0]], { probabilities: [0.25, 0.75] });
  check('position', [[-1.5, 0, 0], [0.5]], { probabilities: [0.25, 0.75] });
  // slots 3 of weighted rows: 1·3 cells, mean 4.5/3 = 1.5, second moment (0.25·41 + 0.75·9)/3 = 17/3, var 17/3 − 2.25
  const weighted = [[-0.5, 0.5, 4.5], [1.5]].map((row) =>
    row.map((x) => x / Math.sqrt(17 / 3 - 2.25 + 1e-8)),
  );
  check('whiten-padded', weighted, { probabilities: [0.25, 0.75] });
});

describe('leave-one-out', () => {
  it('keeps prompts apart and averages K − 1 others', () => {
    const returns = [[1, 1], [10], [4, 2], [7, 3], [20, 5]];
    const groups = [0, 1, 0, 0, 1];
    // prompt 0: rows 0 2 3; prompt 1: rows 1 4
    const expected = [[1 - 5.5, 1 - 2.5], [10 - 20], [4 - 4, 2 - 2], [7 - 2.5, 3 - 1.5], [20 - 10, 5 - 0]];
    close(baselines['leave-one-out'].advantages({ returns, groups }), expected);
  });
  it('refuses a prompt with one sample, and a batch without prompts', () => {
    const alone = { returns: [[1], [2], [3]], groups: [0, 0, 9] };
    expect(() => baselines['leave-one-out'].advantages(alone)).toThrow(
      'one sample of prompt 9, expected at least 2',
    );
    expect(() => baselines['leave-one-out'].advantages({ returns: [[1]] })).toThrow(
      'prompt of each response',
    );
  });
});

describe('whitening', () => {
  it('of equal returns is finite: 1e-8 under the root', () => {
    close(baselines.whiten.advantages({ returns: [[2, 2]] }), [[0, 0]]);
  });
  it('refuses fewer slots than tokens', () => {
    expect(() => baselines['whiten-padded'].advantages({ returns: [[1, 2, 3]], slots: 2 })).toThrow(
      'max_response 2 is shorter than a response of 3 tokens',
    );
  });
  it('of an empty batch is empty', () => {
    for (const { advantages } of Object.values(baselines))
      expect(advantages({ returns: [], groups: [] })).toEqual([]);
  });
});

describe('importance weights', () => {
  it('mixture of q = 1/4, p = 3/4, α = 0.2 is 0.35', () => {
    expect(Math.exp(mixedLogprob(Math.log(0.25), Math.log(0.75), 0.2))).toBeCloseTo(0.35, 14);
    expect(mixedLogprob(-1.5, -7, 0)).toBe(-1.5);
    expect(mixedLogprob(-1.5, -7, 1)).toBe(-7);
    // far below the range of exp: ln(0.2·e^−1000 + 0.8·e^−1001) = −1000 + ln(0.2 + 0.8/e)
    expect(mixedLogprob(-1001, -1000, 0.2)).toBeCloseTo(-1000 + Math.log(0.2 + 0.8 / Math.E), 10);
  });

  it('w = 1/((1−α) + α p/q): 1.25 at p/q 0, 1.2 at 1/6, 1 at 1, 0.8 at 2.25, 5/9 at 5', () => {
    const ratios = [1e-300, 1 / 6, 1, 2.25, 5];
    const student = [ratios.map(() => Math.log(0.1))];
    const behavior = [ratios.map((x) => mixedLogprob(Math.log(0.1), Math.log(0.1 * x), 0.2))];
    close(samplingRatios(student, behavior), [[1.25, 1.2, 1, 0.8, 5 / 9]]);
  });

  it('none, token and prefix of u = 0.5 2 0.8', () => {
    const u = [[0.5, 2, 0.8]];
    const all = (x: ReturnType<(typeof importances)['none']['weights']>) =>
      [x.w, x.reg, x.step].map((y) => [...y[0]!]);
    expect(all(importances.none.weights(u))).toEqual([
      [1, 1, 1],
      [1, 1, 1],
      [1, 1, 1],
    ]);
    expect(all(importances.token.weights(u))).toEqual([
      [0.5, 2, 0.8],
      [0.5, 2, 0.8],
      [1, 1, 1],
    ]);
    expect(all(importances.prefix.weights(u))).toEqual([
      [0.5, 1, 0.8],
      [1, 0.5, 1],
      [0.5, 2, 0.8],
    ]);
  });
});
