import { describe, expect, it } from 'vitest';
import { advantages } from '../../src/objectives/advantages.js';
import { mixedLogprob } from '../../src/objectives/importance.js';
import { presets, resolveObjective } from '../../src/objectives/presets.js';
import { flatten } from '../../src/objectives/ragged.js';

const close = (found: Float64Array[], expected: number[][]) => {
  expect(found.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  expected.forEach((row, i) => {
    row.forEach((x, t) => {
      expect(found[i]![t], `[${i}][${t}]`).toBeCloseTo(x, 12);
    });
  });
};

/** Two responses: r = 0.5 −1 and r = −0.25. */
const student = [[-1, -2], [-1]];
const teacher = [[-0.5, -3], [-1.25]];
const behavior = student.map((row, i) => row.map((q, t) => mixedLogprob(q, teacher[i]![t]!, 0.2)));
const batch = {
  studentLogprobs: student,
  teacherLogprobs: teacher,
  behaviorLogprobs: behavior,
  kl: [[0.3, 0.7], [0.1]],
};
/** w = q / (0.2 p + 0.8 q) = 1/(0.8 + 0.2 e^r) */
const w = [
  [1 / (0.8 + 0.2 * Math.exp(0.5)), 1 / (0.8 + 0.2 * Math.exp(-1))],
  [1 / (0.8 + 0.2 * Math.exp(-0.25))],
];

describe('advantages of the presets, by hand', () => {
  it('lmops', () => {
    const s = advantages(batch, presets.lmops);
    close(s.rewards, [[1, -2], [-0.5]]); // /0.5
    // R_0 = 1 − 0.95·2 = −0.9 over 2 tokens; R_1 = −2 over 1; −0.5 over 1
    close(s.returns, [[-0.45, -2], [-0.5]]);
    // 2·2 slots: mean −2.95/4 = −0.7375, var (0.2025 + 4 + 0.25)/4 − 0.7375² = 0.56921875
    const scale = Math.sqrt(0.56921875 + 1e-8);
    close(s.advantages, [[0.2875 / scale, -1.2625 / scale], [0.2375 / scale]]);
    close(s.w, w);
    close(s.pgWeights, w);
    close(s.klWeights, [[1, 1], [1]]);
  });

  it('paper', () => {
    const s = advantages(batch, presets.paper);
    close(s.rewards, [[0.5, -1], [-0.25]]);
    close(s.returns, [[-1, 0], [0]]); // R_1 / (2 − 0 − 1), last tokens 0
    close(s.advantages, [[-1, 0], [0]]);
    close(s.pgWeights, w);
    close(s.klWeights, w);
  });

  it('minillm', () => {
    const s = advantages(batch, presets.minillm);
    close(s.returns, [[-0.7, 0], [0]]); // −KL_1 / 1
    close(s.advantages, [[-0.35, 0], [0.35]]); // position mean at t 0: −0.35
    close(s.klWeights, [[1, 1], [1]]);
  });
});

describe('switches', () => {
  const one = (overrides: object) => advantages(batch, resolveObjective('paper', overrides));
  it('w_on_pg off', () => {
    close(one({ w_on_pg: false }).pgWeights, [[1, 1], [1]]);
    close(one({ w_on_pg: false }).w, w);
    close(one({ w_on_pg: false, importance: 'prefix' }).stateWeights, [[1, 1], [1]]);
    // without the weight on the term, no factors inside the return either
    close(one({ w_on_pg: false, importance: 'prefix' }).returns, [[-1, 0], [0]]);
  });
  it('prefix: W_t on the ratio, W_{t−1} on KL, u_1 inside the return', () => {
    const s = one({ importance: 'prefix' });
    close(s.pgWeights, [[w[0]![0]!, w[0]![0]! * w[0]![1]!], [w[1]![0]!]]);
    close(s.klWeights, [[1, w[0]![0]!], [1]]);
    close(s.stateWeights, [[1, w[0]![0]!], [1]]);
    close(s.returns, [[-w[0]![1]!, 0], [0]]);
  });
  it('whiten masked comes after the baseline', () => {
    // returns −1 0 | 0, position −> −0.5 0 | 0.5; mean 0, var 0.5/3
    const scale = Math.sqrt(0.5 / 3 + 1e-8);
    close(one({ baseline: 'position', whiten: 'masked' }).advantages, [[-0.5 / scale, 0], [0.5 / scale]]);
    close(
      one({ whiten: 'masked' }).advantages,
      [...one({ baseline: 'whiten' }).advantages].map((row) => [...row]),
    );
  });
  it('an advantage that is 0 but for rounding is 0: only one response is alive at its last tokens', () => {
    const studentLogprobs = [[-1, -2, -0.7, -1.1], [-0.3, -0.9], [-1.7]];
    const teacherLogprobs = [[-1.31, -1.7, -2.3, -0.1], [-2.7, -0.2], [-0.4]];
    const some = { studentLogprobs, teacherLogprobs, behaviorLogprobs: studentLogprobs };
    const config = resolveObjective('paper', { alpha: 0, baseline: 'position', whiten: 'padded' });
    const [long] = advantages(some, config).advantages;
    expect(Math.abs(long![0]!)).toBeGreaterThan(0.1);
    expect([long![2], long![3]]).toEqual([0, 0]);
  });

  it('max_response sets the slots of padded whitening', () => {
    // returns −1 0 | 0 in 2·5 slots: mean −0.1, var 0.1 − 0.01
    const scale = Math.sqrt(0.09 + 1e-8);
    close(one({ whiten: 'padded', max_response: 5 }).advantages, [
      [-0.9 / scale, 0.1 / scale],
      [0.1 / scale],
    ]);
  });
  it('total multiplies the KL weights by c_t', () => {
    close(one({ length_norm: 'total', importance: 'none' }).klWeights, [[0.75, 0.5], [0.75]]);
    close(one({ length_norm: 'total' }).klWeights, [[0.75 * w[0]![0]!, 0.5 * w[0]![1]!], [0.75 * w[1]![0]!]]);
  });
  it('reward scaling divides the expected rewards too', () => {
    close(one({ returns: 'rao-blackwell', reward_scaling: 0.5 }).returns, [[-1.4, 0], [0]]);
  });
  it('rao-blackwell without KL says what to do', () => {
    const { kl: _, ...bare } = batch;
    expect(() => advantages(bare, presets.minillm)).toThrow(
      'rao-blackwell needs the KL at every sampled state',
    );
  });
});

describe('presets', () => {
  it('take overrides, with true and false for length_norm', () => {
    expect(resolveObjective('lmops', {}).gamma).toBe(0.95);
    expect(resolveObjective('paper', { length_norm: false }).length_norm).toBe('off');
    expect(resolveObjective('paper', { length_norm: true, gamma: undefined })).toEqual(presets.paper);
    expect(resolveObjective('minillm', { length_norm: 'total' }).length_norm).toBe('total');
  });
  it.each([
    ['paper', { gama: 1 }, 'objective: Unrecognized key: "gama"'],
    ['paper', { alpha: 1.2 }, 'objective.alpha: Too big: expected number to be <=1'],
    ['paper', { alpha: Number.NaN }, 'objective.alpha: Invalid input: expected number, received NaN'],
    ['paper', { temperature: 0 }, 'objective.temperature: Too small: expected number to be >0'],
    ['paper', { baseline: 'mean' }, 'objective.baseline: Invalid option'],
    [
      'paper',
      { baseline: 'whiten', whiten: 'padded' },
      'objective.whiten: padded with baseline whiten would standardise twice',
    ],
    [
      'lmops',
      { baseline: 'action-value' },
      'objective.whiten: padded with baseline action-value, whose Q(s,a) has the scale of the returns; set whiten off',
    ],
    ['lmops', { length_norm: 'total' }, 'objective.gamma: 0.95 with length_norm total'],
    [
      'paper',
      { length_norm: 'total', reward_scaling: 0.5 },
      'objective.reward_scaling: 0.5 with length_norm total',
    ],
    [
      'paper',
      { length_norm: 'total', cliprange_reward: 1 },
      'objective.cliprange_reward: 1 with length_norm total',
    ],
    ['paper', { length_norm: 3 }, 'objective.length_norm: Invalid option'],
    ['trl', {}, 'objective.preset: "trl" found, expected one of minillm, lmops, paper'],
    ['constructor', {}, 'objective.preset: "constructor" found'],
    ['paper', null, 'objective: Invalid input'],
  ])('%s %j is refused', (preset, overrides, message) => {
    expect(() => resolveObjective(preset, overrides)).toThrow(message);
  });
});

it('flatten keeps row order', () => {
  expect([...flatten([[1, 2], [], [3]])]).toEqual([1, 2, 3]);
});
