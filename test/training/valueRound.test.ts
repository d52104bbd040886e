import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { disposeState } from '../../src/optim/state.js';
import { initBackend } from '../../src/tensor/backend.js';
import { objectiveOf } from '../../src/training/minillm.js';
import { valueRound } from '../../src/training/valueRound.js';
import { flatParams, tinyWorld } from '../helpers/training.js';

await initBackend({ backend: 'wasm' });

const value = { method: 'minillm', objective: { baseline: 'value' }, value: { lr: 0.05, steps: 10 } };
const many = { examples: 32 };

describe('a round with values', () => {
  it('values come from the head of the rounds before, 0 in the first', async () => {
    const world = tinyWorld({ config: { ...value, train: { steps: 4 } }, ...many });
    const seen: { values: number[]; baseline: number; explained: number }[] = [];
    const records = await world.run({
      onStep: (record) => {
        if (record.metrics.explained_variance === undefined) return;
        seen.push({
          values: world.state.rollouts.flatMap((t) => Array.from(t.values!)),
          baseline: record.metrics.return! - record.metrics.advantage_mean!,
          explained: record.metrics.explained_variance,
        });
      },
    });
    expect(records).toHaveLength(0);
    expect(seen).toHaveLength(2);
    expect(seen[0]!.values.every((v) => v === 0)).toBe(true);
    expect(seen[0]!.explained).toBe(0);
    expect(seen[0]!.baseline).toBeCloseTo(0, 12);
    expect(seen[1]!.values.every((v) => v !== 0)).toBe(true);
    expect(seen[1]!.baseline).not.toBeCloseTo(0, 3);
    expect(world.state.value!.optimizer.adam.count).toBe(20);
    world.dispose();
  });

  it.each(['minillm', 'opd'])(
    '%s learns with it, without a leak, and no gradient reaches the student',
    async (method) => {
      const run = async (fields: object): Promise<Float64Array> => {
        const before = tf.memory().numTensors;
        const world = tinyWorld({ config: { ...value, ...fields, method, train: { steps: 2 } }, ...many });
        await world.run();
        const params = flatParams(world.state);
        world.dispose();
        expect(tf.memory().numTensors).toBe(before);
        return params;
      };
      // In the first round the values are 0 whatever the head's rate: had its regression moved the student, it would show.
      expect(await run({})).toEqual(await run({ value: { lr: 10, steps: 50 } }));
      expect(await run({})).toEqual(await run({ objective: { baseline: 'none' } }));
    },
  );

  it('the head misses less of the returns, round after round', async () => {
    const world = tinyWorld({
      config: { ...value, rollout: { rollouts: 16 }, train: { batch_size: 16 } },
      examples: 16,
    });
    const { context, state, method } = world;
    // The same student answers again and again: only the head learns.
    const losses: number[] = [];
    for (state.round = 1; state.round <= 12; state.round++) {
      const metrics = await method.collect!(context, state);
      losses.push(metrics.value_loss!);
    }
    world.dispose();
    const mean = (x: number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
    expect(mean(losses.slice(-4))).toBeLessThan(0.8 * losses[0]!);
  });
});

describe('valueRound', () => {
  it('fits the λ = 1 return of the gae forms, and reports what the values missed', async () => {
    const world = tinyWorld({
      config: { method: 'minillm', objective: { returns: 'rao-blackwell' } },
      ...many,
    });
    const { context, state, method } = world;
    state.round = 1;
    await method.collect!(context, state);
    const base = objectiveOf(context);
    const learn = (objective: typeof base) => {
      const { trajectories, head, metrics } = valueRound(context, state.rollouts, objective, undefined, {
        lr: 0.1,
        steps: 5,
      });
      const weight = Array.from(head.params.weight!.dataSync());
      const again = valueRound(context, state.rollouts, objective, head, { lr: 0.1, steps: 0 });
      disposeState(again.head);
      return { weight, metrics, first: trajectories, again };
    };
    const gae = learn({ ...base, returns: 'gae-rao-blackwell', gae_lambda: 0.5, baseline: 'value' });
    const plain = learn({ ...base, baseline: 'value' });
    expect(gae.weight).toEqual(plain.weight);
    expect(plain.first.every((t) => t.values!.every((v) => v === 0))).toBe(true);
    // Remaining-normalised Rao-Blackwell returns by hand: 0 at the last token.
    const returns = state.rollouts.map((t) =>
      Array.from(t.kl!, (_, i) => {
        const rest = Array.from(t.kl!).slice(i + 1);
        return rest.length === 0 ? 0 : -rest.reduce((a, b) => a + b, 0) / rest.length;
      }),
    );
    const flat = returns.flat();
    const mse = (values: readonly Float32Array[]): number =>
      returns.reduce((sum, row, b) => row.reduce((s, g, t) => s + (values[b]![t]! - g) ** 2, sum), 0) /
      flat.length;
    expect(plain.metrics.value_loss).toBeCloseTo(mse(plain.first.map((t) => t.values!)), 5);
    expect(plain.again.metrics.value_loss).toBeCloseTo(
      mse(plain.again.trajectories.map((t) => t.values!)),
      5,
    );
    expect(plain.again.metrics.value_loss).toBeLessThan(plain.metrics.value_loss);
    expect(plain.again.metrics.explained_variance).toBeLessThanOrEqual(1);
    world.dispose();
  });
});
