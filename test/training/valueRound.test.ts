import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { disposeState } from '../../src/optim/state.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { objectiveOf } from '../../src/training/minillm.js';
import { policyBatches } from '../../src/training/policyBatches.js';
import { newHead, valueRound } from '../../src/training/valueRound.js';
import { tinyModel } from '../helpers/models.js';
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

describe('a round with values of actions', () => {
  const actions = { ...value, objective: { baseline: 'action-value' } };
  it.each(['minillm', 'opd'])(
    '%s: in the first round it is value to the byte, later it is not; no leak',
    async (method) => {
      const run = async (baseline: string, steps: number) => {
        const before = tf.memory().numTensors;
        const world = tinyWorld({
          config: { ...value, method, objective: { baseline }, train: { steps } },
          ...many,
        });
        await world.run();
        const params = flatParams(world.state);
        world.dispose();
        expect(tf.memory().numTensors).toBe(before);
        return params;
      };
      expect(await run('action-value', 2)).toEqual(await run('value', 2));
      expect(await run('action-value', 4)).not.toEqual(await run('value', 4));
    },
  );

  it('D of a round is what was learned before it, V that of value', async () => {
    const world = tinyWorld({ config: { ...actions, train: { steps: 4 } }, ...many });
    const plain = tinyWorld({ config: { ...value, train: { steps: 2 } }, ...many });
    const { state, method, context } = world;
    state.round = 1;
    const first = await method.collect!(context, state);
    plain.state.round = 1;
    await plain.method.collect!(plain.context, plain.state);
    expect(first.action_explained_variance).toBe(first.explained_variance);
    const V = (head: typeof state.value) => Array.from(head!.params.weight!.dataSync());
    expect(V(state.value)).toEqual(V(plain.state.value));
    const learned = Array.from(state.value!.actions!.params.weight!.dataSync());
    expect(learned.some((x) => x !== 0)).toBe(true);
    expect(Array.from(state.value!.actions!.acting.weight!.dataSync()).every((x) => x === 0)).toBe(true);
    state.round = 2;
    const second = await method.collect!(context, state);
    expect(Array.from(state.value!.actions!.acting.weight!.dataSync())).toEqual(learned);
    expect(second.action_explained_variance).not.toBe(second.explained_variance);
    world.dispose();
    plain.dispose();
  });

  it('a student that ends on a narrower embedding has heads of that width', () => {
    const student = tinyModel(1);
    const head = newHead(
      { ...student.config, embeddingSize: 3 },
      { baseline: 'action-value' },
      { lr: 1, steps: 1 },
    );
    expect(head.params.weight!.shape).toEqual([3, 1]);
    expect(head.actions!.params.weight!.shape).toEqual([3, 3]);
    disposeState(head);
    disposeParams(student.params);
  });

  it('without a head there is one line', () => {
    const world = tinyWorld({ config: { method: 'minillm' }, ...many });
    const objective = { ...objectiveOf(world.context), baseline: 'action-value' as const };
    const t = [0, 1].map((i) => ({
      promptIndex: i,
      sample: 0,
      promptIds: Int32Array.of(1),
      responseIds: Int32Array.of(2),
      ...Object.fromEntries(
        [
          'studentLogprobs',
          'teacherLogprobs',
          'behaviorLogprobs',
          'kl',
          'entropy',
          'collision',
          'values',
        ].map((name) => [name, Float32Array.of(0)]),
      ),
    })) as never;
    const options = { microBatchSize: undefined, teacherLogits: () => undefined };
    expect(() => policyBatches(world.context, t, objective, options)).toThrow(
      'objective: baseline action-value needs the values of all actions of a trained head, and there is none',
    );
    world.dispose();
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
