import { describe, expect, it } from 'vitest';
import { advantages, type SampledBatch } from '../../src/objectives/advantages.js';
import { type ObjectiveConfig, opdObjective, presets } from '../../src/objectives/presets.js';
import { rewardOf, taskReturns, tokenRewards } from '../../src/objectives/taskRewards.js';
import { enumerate, population } from '../../src/oracle/enumeration.js';
import { objectiveExact } from '../../src/oracle/exact.js';
import { gradientsOf, meanGradient } from '../../src/oracle/gradients.js';
import { compare } from '../../src/oracle/oracle.js';
import { parseWorld } from '../../src/oracle/worldFile.js';
import { randomWorldJson, withTask } from '../oracle/worlds.js';

const lists = (x: readonly Float64Array[] | undefined) => x?.map((row) => [...row]);

describe('rewards of a task', () => {
  it('stand at the token, those of a response at the last one, weighted and summed', () => {
    const given = [
      { name: 'length', weight: 0.5, value: 6 },
      { name: 'words', weight: 2, value: Float64Array.of(1, 0, -1) },
    ];
    expect([...tokenRewards(3, given)]).toEqual([2, 0, 1]);
    expect(given.map(rewardOf)).toEqual([6, 0]);
    expect(() => tokenRewards(2, given)).toThrow('reward words: 3 numbers for 2 tokens');
  });

  it('return what the response earns from the token on, per decision under mixing', () => {
    const rho = [[1, 2, 3]];
    expect(lists(taskReturns(rho, [[1, 1, 1]], 1))).toEqual([[6, 5, 3]]);
    // 2 + 2·3, and 1 + 0.5·8: the factor of a reward's own token is in w already.
    expect(lists(taskReturns(rho, [[7, 0.5, 2]], 1))).toEqual([[5, 8, 3]]);
    // λ = 1/2: 2 + 3/2, 1 + 3.5/2.
    expect(lists(taskReturns(rho, [[1, 1, 1]], 0.5))).toEqual([[2.75, 3.5, 3]]);
  });
});

describe('the returns of teacher and task', () => {
  // r = 1, −1
  const batch: SampledBatch = {
    studentLogprobs: [[-2, -1]],
    teacherLogprobs: [[-1, -2]],
    behaviorLogprobs: [[-2, -1]],
    kl: [[0.5, 0.25]],
    taskRewards: [[0, 3]],
  };
  const plain: ObjectiveConfig = { ...presets.paper, length_norm: 'off', kl_coef: 2, w_on_reg: false };
  const returns = (change: Partial<ObjectiveConfig>) =>
    lists(advantages(batch, { ...plain, ...change }).returns);

  it('the teacher in its form, β times; the task as it was sampled', () => {
    expect(returns({})).toEqual([[2 * -1 + 3, 3]]);
    expect(returns({ returns: 'rao-blackwell' })).toEqual([[2 * -0.25 + 3, 3]]);
    expect(returns({ kl_coef: 0 })).toEqual([[3, 3]]);
  });

  it('discount, scaling and length normalisation are the teacher’s', () => {
    const { gamma, reward_scaling, include_r_t } = presets.lmops;
    const [found] = returns({ gamma, reward_scaling, include_r_t, length_norm: 'remaining' })!;
    expect(found![0]).toBeCloseTo((2 * (2 - 0.95 * 2)) / 2 + 3, 14);
    expect(found![1]).toBeCloseTo(2 * -2 + 3, 14);
    expect(returns(opdObjective)).toEqual([[2 * 1 + 3, 2 * -1 + 3]]);
  });

  it('says what it is made of, and weighs the single-step term by β', () => {
    const signals = advantages(batch, plain);
    expect(lists(signals.rewards)).toEqual([[1, -1]]);
    expect(lists(signals.taskRewards)).toEqual([[0, 3]]);
    expect(lists(signals.klWeights)).toEqual([[2, 2]]);
    expect('taskRewards' in advantages({ ...batch, taskRewards: undefined as never }, plain)).toBe(false);
  });

  it.each([
    [{ length_norm: 'remaining' }, 'length_norm: remaining with returns gae'],
    [{ gamma: 0.9 }, 'gamma: 0.9 with returns gae'],
  ] as const)('refuses values of a sum that only one part of is normalised: %j', (change, said) => {
    const config = { ...plain, returns: 'gae', ...change } as const;
    expect(() => advantages({ ...batch, values: [[0, 0]] }, config)).toThrow(said);
    expect(() => advantages({ ...batch, values: [[0, 0]] }, { ...config, gae_lambda: 1 })).not.toThrow();
  });

  it('a reward that stands before what it looks at is biased, as docs/rewards.md warns', () => {
    const world = parseWorld(withTask(randomWorldJson(3, 3, 1), 1), 'task');
    const enumeration = enumerate(world);
    const exact = objectiveExact(world).gradient;
    const all = population(enumeration, 0);
    const config: ObjectiveConfig = { ...plain, kl_coef: 1, alpha: 0, importance: 'none', cliprange: 0 };
    const bias = (taskRewards: Float64Array[]) => {
      const found = gradientsOf(enumeration.sequences, { ...all, taskRewards }, config);
      return compare(meanGradient(enumeration, found), exact).relative_bias;
    };
    const moved = (to: (length: number) => number) =>
      all.taskRewards!.map((row) => {
        const sum = new Float64Array(row.length);
        sum[to(row.length)] = Array.from(row).reduce((a, b) => a + b, 0);
        return sum;
      });
    expect(bias(moved((length) => length - 1))).toBeLessThan(1e-12);
    expect(bias(moved(() => 0))).toBeGreaterThan(0.1);
  });
});
