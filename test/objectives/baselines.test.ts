import { describe, expect, it } from 'vitest';
import { type BaselineName, baselines } from '../../src/objectives/baselines.js';
import { type BaselineBatch, nextEma, noEma } from '../../src/objectives/batchStatistics.js';
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
  // one group: mean 12/4 = 3, var (4 + 1 + 9 + 0)/4 = 3.5
  check(
    'group-normalised',
    [[-2, -1, 3], [0]].map((row) => row.map((x) => x / Math.sqrt(3.50000001))),
    { groups: [7, 7] },
  );
  check('ema', returns); // nothing remembered yet
  check('ema', [[-1.5, -0.5, 3.5], [0.5]], { ema: { mean: 2.5, weight: 0.1 } });
  // (1·1 + 0·2 + 3·6 + 4·3)/8 = 31/8
  check('score-weighted', [[-2.875, -1.875, 2.125], [-0.875]], { squaredScores: [[1, 0, 3], [4]] });
  // weights 1/4, 3/4: (0.25·19 + 0.75·12)/(0.25·4 + 0.75·4) = 13.75/4
  check('score-weighted', [[-2.4375, -1.4375, 2.5625], [-0.4375]], {
    squaredScores: [[1, 0, 3], [4]],
    probabilities: [0.25, 0.75],
  });
  check('score-weighted', returns, { squaredScores: [[0, 0, 0], [0]] });
  check('value', [[0.5, 3, 4], [2.75]], { values: [[0.5, -1, 2], [0.25]] });
  check('action-value', [[0.5, 3, 4], [2.75]], { values: [[0.5, -1, 2], [0.25]] }); // D is the loss's
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

describe('what a baseline asks for', () => {
  it.each([
    ['group-normalised', {}, 'baseline group-normalised needs to know the prompt of each response'],
    ['group-normalised', { groups: [4] }, 'baseline group-normalised found one sample of prompt 4'],
    ['score-weighted', {}, 'baseline score-weighted needs Σ_v q(v)² at every sampled state'],
    ['value', {}, 'baseline value needs the values V(s_t) of a value head'],
    ['action-value', {}, 'baseline action-value needs the values V(s_t) of a value head'],
  ] as const)('%s %j', (name, more, message) => {
    expect(() => baselines[name].advantages({ returns: [[1, 2]], ...more })).toThrow(message);
  });
});

describe('group-normalised', () => {
  it('takes every prompt by itself', () => {
    const [a, b] = [
      [[1, 2, 6], [3]],
      [[-4], [10, 0]],
    ];
    const both = { returns: [a[0]!, b[0]!, a[1]!, b[1]!], groups: [0, 1, 0, 1] };
    const alone = (returns: number[][]) =>
      baselines['group-normalised'].advantages({ returns, groups: [0, 0] }).map((row) => [...row]);
    const [x, y] = [alone(a), alone(b)];
    close(baselines['group-normalised'].advantages(both), [x[0]!, y[0]!, x[1]!, y[1]!]);
  });
});

describe('the exponential moving average of batch means', () => {
  const batch = (...returns: number[]) => ({ returns: [returns] });
  it('decay 0.5, means 3, 1, −4: 3, then 5/3, then −1.571428', () => {
    const first = nextEma(noEma, batch(2, 4), 0.5);
    expect(first).toEqual({ mean: 3, weight: 0.5 });
    const second = nextEma(first, batch(1), 0.5);
    // (0.25·3 + 0.5·1)/0.75
    expect(second.mean).toBeCloseTo(5 / 3, 15);
    expect(second.weight).toBe(0.75);
    // (0.125·3 + 0.25·1 + 0.5·(−4))/0.875 = −1.375/0.875
    expect(nextEma(second, batch(-4), 0.5).mean).toBeCloseTo(-11 / 7, 14);
  });
  it('decay 0 is the last batch, decay 1 never learns', () => {
    expect(nextEma({ mean: 7, weight: 1 }, batch(2), 0)).toEqual({ mean: 2, weight: 1 });
    expect(nextEma(noEma, batch(2), 1)).toEqual(noEma);
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
      expect(advantages({ returns: [], groups: [], values: [], squaredScores: [] })).toEqual([]);
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

  it('truncated at 1 of u = 0.5 4 0.8: every product W = 0.5 2 1.6 is cut, the factors are ratios of what is left', () => {
    const { w, reg, step } = importances.truncated.weights([[0.5, 4, 0.8]], 1);
    close(w, [[0.5, 1, 1]]);
    close(reg, [[1, 0.5, 1]]);
    close(step, [[0.5, 2, 1]]);
    // c = 1.75 cuts the middle one only
    close(importances.truncated.weights([[0.5, 4, 0.8]], 1.75).step, [[0.5, 3.5, 1.6 / 1.75]]);
  });
  it('truncated at a bound that nothing reaches is prefix; an underflow stays finite', () => {
    const u = [[0.5, 2, 0.8]];
    const prefix = importances.prefix.weights(u);
    const truncated = importances.truncated.weights(u, 100);
    for (const key of ['w', 'reg', 'step'] as const) close(truncated[key], [[...prefix[key][0]!]]);
    close(importances.truncated.weights([[1e-200, 1e-200, 1]], 2).step, [[1e-200, 0, 0]]);
  });

  it('of a state: w without the factor of its own token, where w has it', () => {
    const u = [[0.5, 4, 0.8]];
    close(importances.none.weights(u).state, [[1, 1, 1]]);
    close(importances.token.weights(u).state, [[1, 1, 1]]);
    close(importances.prefix.weights(u).state, [[1, 0.5, 2]]);
    close(importances.truncated.weights(u, 1).state, [[1, 0.5, 1]]);
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
