import { describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { divergenceLoss } from '../../src/training/divergenceLoss.js';
import { supervised } from '../../src/training/supervised.js';
import { flatParams, tinyWorld, type World } from '../helpers/training.js';
import { expectClose } from '../tensor/gradcheck.js';

await initBackend({ backend: 'cpu' });

const train = { steps: 4, batch_size: 4, lr: 0.02 };
/** Every step a round of its own, and nothing of the future: what is left are the states and the divergence there. */
const singleStep = { returns: 'none', alpha: 0, lm_coef: 0 };
const rollout = { rollouts: 4, inner_epochs: 1 };

interface Trained {
  losses: number[];
  weights: Float32Array;
}

async function trained(world: World): Promise<Trained> {
  const records = await world.run();
  const weights = Float32Array.from(flatParams(world.state));
  world.dispose();
  return { losses: records.map(({ metrics }) => metrics.loss!), weights };
}
const of = (config: Record<string, unknown> & { method: string }): Promise<Trained> =>
  trained(tinyWorld({ config: { train, ...config } }));

function expectSame(found: Trained, expected: Trained): void {
  expect(expected.losses).toHaveLength(train.steps);
  expectClose(found.losses, expected.losses, 1e-5, 'losses');
  expectClose(found.weights, expected.weights, 1e-4, 'weights');
}

describe('corners of the grid of states, credit, freshness and what is added are the other methods', () => {
  it('gold states, single step: reverse-kd', async () => {
    const gold = { method: 'minillm', objective: singleStep, rollout: { ...rollout, states: 'gold' } };
    expectSame(await of(gold), await of({ method: 'reverse-kd' }));
  });

  it('gold states, nothing but the cross-entropy there: sft', async () => {
    const objective = { ...singleStep, single_step: false, gold_coef: 1 };
    const gold = { method: 'minillm', objective, rollout: { ...rollout, states: 'gold' } };
    expectSame(await of(gold), await of({ method: 'sft' }));
  });

  it('own states, single step: on-policy gkd with reverse KL, on the same samples', async () => {
    const world = tinyWorld({ config: { method: 'minillm', train, objective: singleStep, rollout } });
    const { collect } = world.method;
    const rounds: World['state']['rollouts'][] = [];
    world.method.collect = async (context, state) => {
      const metrics = await collect!(context, state);
      rounds.push(state.rollouts);
      return metrics;
    };
    const found = await trained(world);
    expect(rounds).toHaveLength(train.steps);

    const gkd = tinyWorld({ config: { method: 'gkd', train, gkd: { beta: 1, lambda: 1 } } });
    const onThose = supervised(({ config }) => divergenceLoss('jsd', config, config.gkd.beta), {
      teachers: true,
      batch: (_, state) => rounds[state.step]!,
    });
    delete gkd.method.collect;
    delete gkd.method.stepsPerRound;
    Object.assign(gkd.method, onThose);
    expectSame(found, await trained(gkd));
  });

  it('own states, the reward of the token alone: opd', async () => {
    const objective = {
      ...singleStep,
      ...{ single_step: false, include_r_t: true, length_norm: 'off', baseline: 'none', cliprange: 0 },
    };
    expectSame(await of({ method: 'minillm', objective, rollout }), await of({ method: 'opd', rollout }));
  });

  it('the cross-entropy on gold responses is added to whatever there is, prompts with several samples once', async () => {
    const objective = { ...singleStep, returns: 'rao-blackwell' };
    const several = { ...rollout, rollouts: 8, samples: 2 };
    const whole = { ...train, batch_size: 8 };
    const first = async (gold_coef: number): Promise<Record<string, number>> => {
      const config = {
        method: 'minillm',
        train: whole,
        objective: { ...objective, gold_coef },
        rollout: several,
      };
      const world = tinyWorld({ config });
      const [record] = await world.run();
      world.dispose();
      return record!.metrics;
    };
    const [without, added] = [await first(0), await first(0.5)];
    expect(without).not.toHaveProperty('gold_loss');
    expect(added.loss).toBeCloseTo(without.loss! + 0.5 * added.gold_loss!, 5);
    // Four prompts in the order of the epoch, which sft meets in its first batch of four.
    expect(added.gold_loss).toBeCloseTo((await of({ method: 'sft' })).losses[0]!, 5);
  });
});
