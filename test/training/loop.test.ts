import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { RunError } from '../../src/errors.js';
import { initBackend } from '../../src/tensor/backend.js';
import { flatParams, relativeDistance, tinyWorld, type WorldOptions } from '../helpers/training.js';

await initBackend({ backend: 'cpu' });

const small = { hidden: 8, layers: 1 };

describe('the training loop', () => {
  it('validates first and last and every few steps; checkpoints after validating', async () => {
    const world = tinyWorld({
      config: { method: 'sft', train: { steps: 5 }, eval: { every: 2 }, checkpoint: { every: 3 } },
      student: small,
    });
    const events: string[] = [];
    await world.run({
      onStep: ({ step }) => events.push(`step ${step}`),
      evaluate: async ({ step }) => void events.push(`evaluate ${step}`),
      checkpoint: async ({ step }) => void events.push(`checkpoint ${step}`),
    });
    world.dispose();
    expect(events).toEqual([
      ...['evaluate 0', 'step 1', 'step 2', 'evaluate 2', 'step 3', 'checkpoint 3', 'step 4', 'evaluate 4'],
      ...['step 5', 'evaluate 5', 'checkpoint 5'],
    ]);
  });

  it('asked to stop, it saves the step under way and says how to go on', async () => {
    const world = tinyWorld({
      config: { method: 'sft', train: { steps: 5 }, eval: { every: 0 }, checkpoint: { every: 0 } },
      student: small,
    });
    const saved: number[] = [];
    const run = world.run({
      checkpoint: async ({ step }) => void saved.push(step),
      stopping: () => world.state.step >= 2,
    });
    await expect(run).rejects.toThrow('stopped at step 2 of 5, saved; go on with --resume');
    await expect(run).rejects.toMatchObject({ exitCode: 130 });
    expect(saved).toEqual([2]);
    world.dispose();
  });

  it('asked to stop at the last step, it is simply done', async () => {
    const world = tinyWorld({ config: { method: 'sft', train: { steps: 2 } }, student: small });
    await world.run({ stopping: () => world.state.step >= 2 });
    expect(world.state.step).toBe(2);
    world.dispose();
  });

  it('logs the learning rate of every step: warm-up, then the schedule', async () => {
    const rates = async (train: object): Promise<number[]> => {
      const world = tinyWorld({
        config: { method: 'sft', train: { steps: 4, lr: 0.1, ...train } },
        student: small,
      });
      const records = await world.run();
      world.dispose();
      return records.map((record) => Number(record.metrics.lr!.toFixed(6)));
    };
    expect(await rates({ schedule: 'constant', warmup: 2 })).toEqual([0.05, 0.1, 0.1, 0.1]);
    expect(await rates({ schedule: 'linear', min_lr_ratio: 0.2 })).toEqual([0.1, 0.08, 0.06, 0.04]);
  });

  it('clip 0 is no clipping, not a gradient of 0', async () => {
    const twoSteps = async (clip: number): Promise<Float64Array> => {
      const world = tinyWorld({ config: { method: 'sft', train: { steps: 2, clip } }, student: small });
      await world.run();
      const params = flatParams(world.state);
      world.dispose();
      return params;
    };
    const off = await twoSteps(0);
    expect(off).toEqual(await twoSteps(1e9));
    const untouched = tinyWorld({ config: { method: 'sft' }, student: small });
    expect(relativeDistance(off, flatParams(untouched.state))).toBeGreaterThan(0.01);
    untouched.dispose();
  });

  describe('a run that diverges stops at once', () => {
    it.each([
      ['a rate that makes the next loss not finite', 1e18],
      ['a rate that makes the parameters infinite', 1e38],
    ])('%s', async (_, lr) => {
      const world = tinyWorld({
        config: { method: 'sft', train: { steps: 9, lr, warmup: 0, clip: 0 }, checkpoint: { every: 1 } },
        student: small,
      });
      const finite: boolean[] = [];
      const run = world.run({
        checkpoint: async (state) => void finite.push(flatParams(state).every(Number.isFinite)),
      });
      await expect(run).rejects.toThrow(RunError);
      await expect(run).rejects.toThrow(
        / (at|after) step \d+; checkpoints saved before are intact; try a smaller train\.lr/,
      );
      expect(world.state.step).toBeLessThan(9);
      expect(finite).not.toContain(false);
      world.dispose();
    });

    it('keeps the parameters of the step before', async () => {
      const world = tinyWorld({ config: { method: 'sft', train: { steps: 4 } }, student: small });
      let before: Float64Array | undefined;
      const run = world.run({
        onStep: ({ step }) => {
          if (step < 2) return;
          // An overflow in the next loss.
          world.state.params['model.norm.weight']!.dispose();
          world.state.params['model.norm.weight'] = tf.fill([8], Number.MAX_VALUE);
          before = flatParams(world.state);
        },
      });
      await expect(run).rejects.toThrow(/^loss is .* at step 3/);
      expect(flatParams(world.state)).toEqual(before);
      world.dispose();
    });
  });
});

describe('200 steps leave no tensor behind', () => {
  const worlds: Record<string, WorldOptions> = {
    sft: { config: { method: 'sft', train: { steps: 200, batch_size: 2 } }, student: small },
    minillm: {
      config: {
        method: 'minillm',
        train: { steps: 200, batch_size: 2, micro_batch_size: 1, lr: 1e-3 },
        rollout: { rollouts: 4, inner_epochs: 2, max_new_tokens: 3 },
        pretrain: { batch_size: 1 },
      },
      student: small,
      corpus: 2,
    },
  };
  it.each(Object.entries(worlds))('%s', async (_, options) => {
    const before = tf.memory().numTensors;
    const world = tinyWorld(options);
    const counts: number[] = [];
    await world.run({ onStep: () => counts.push(tf.memory().numTensors) });
    expect(counts).toHaveLength(200);
    // What a round keeps (the teacher's logits on its pretraining rows) comes and goes with the round.
    expect(new Set(counts.slice(10)).size).toBeLessThanOrEqual(2);
    expect(Math.max(...counts.slice(100))).toBe(Math.max(...counts.slice(10, 100)));
    world.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
