import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { rollout } from '../../src/rollout/engine.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import type { TrainingContext } from '../../src/training/method.js';
import { EOS, flatParams, relativeDistance, tinyWorld, type WorldOptions } from '../helpers/training.js';

type Fields = WorldOptions['config'];

const supervisedMethods: Record<string, Fields> = {
  sft: { method: 'sft' },
  'sft with prompts': { method: 'sft', train: { prompt_weight: 0.5 } },
  kd: { method: 'kd' },
  'kd, teacher alone': { method: 'kd', kd: { ratio: 1 } },
  seqkd: { method: 'seqkd' },
  'babyllama, two teachers, token': { method: 'babyllama' },
  'babyllama, two teachers, batchmean': { method: 'babyllama', kd: { reduction: 'batchmean', alpha: 0.2 } },
};

const policyGradient: Record<string, Fields> = {
  'minillm, preset minillm': { method: 'minillm' },
  'minillm, preset lmops': { method: 'minillm', objective: { preset: 'lmops' } },
  'minillm, preset paper': { method: 'minillm', objective: { preset: 'paper' } },
  'minillm, leave-one-out and prefix weights': {
    method: 'minillm',
    objective: { baseline: 'leave-one-out', importance: 'prefix' },
    rollout: { samples: 2 },
  },
};

/** One of each kind: weighted tokens, sums over sequences, whitened advantages with pretraining. */
const representative = ['sft with prompts', 'babyllama, two teachers, batchmean', 'minillm, preset lmops'];

/**
 * Every method on a tiny random world; the same suite for every backend, `initBackend` must have run.
 *
 * @param accumulate the methods whose micro-batches are compared: all on one backend, one of each kind on the others
 */
export function methodsSuite(accumulate: 'all' | 'representative'): void {
  describe('learns: its own objective falls on fixed data', () => {
    it.each(Object.entries(supervisedMethods))('%s', async (_, fields) => {
      const before = tf.memory().numTensors;
      // The batch is the whole data, so every step sees the same examples.
      const world = tinyWorld({
        config: { ...fields, train: { steps: 15, batch_size: 6, lr: 0.03, ...(fields.train as object) } },
        examples: 6,
      });
      const losses = (await world.run()).map((record) => record.metrics.loss!);
      world.dispose();
      expect(tf.memory().numTensors).toBe(before);
      expect(losses).toHaveLength(15);
      const floor = await entropyFloor(fields);
      expect(losses.at(-1)! - floor).toBeLessThan(0.6 * (losses[0]! - floor));
      expect(losses.at(-1)).toBeGreaterThan(floor - 1e-5);
    });

    it.each(Object.entries(policyGradient))('%s: reverse KL to the teacher', async (_, fields) => {
      const before = tf.memory().numTensors;
      const world = tinyWorld({
        config: {
          ...fields,
          train: { steps: 16, batch_size: 8, lr: 0.03 },
          rollout: { inner_epochs: 2, ...(fields.rollout as object) },
        },
        examples: 8,
      });
      const start = reverseKl(world.context);
      await world.run();
      const end = reverseKl(world.context);
      world.dispose();
      expect(tf.memory().numTensors).toBe(before);
      expect(end).toBeLessThan(0.75 * start);
    });

    it('minillm: the pretraining loss', async () => {
      const world = tinyWorld({
        config: {
          method: 'minillm',
          train: { steps: 20, batch_size: 8, lr: 0.02 },
          objective: { lm_coef: 3 },
        },
        corpus: 8,
      });
      const losses = (await world.run()).map((record) => record.metrics.pt_loss!);
      world.dispose();
      expect(losses.at(-1)).toBeLessThan(0.85 * losses[0]!);
    });
  });

  describe('micro-batches of 1, 2 and 8 give the same three steps', () => {
    const all = Object.entries({ ...supervisedMethods, ...policyGradient });
    const chosen = all.filter(([name]) => accumulate === 'all' || representative.includes(name));
    it.each(chosen)('%s', async (_, fields) => {
      const threeSteps = async (micro: number): Promise<Float64Array> => {
        const world = tinyWorld({
          config: {
            ...fields,
            // Adam divides by the size of the gradient: a tiny epsilon would turn rounding of tiny gradients into steps.
            train: {
              steps: 3,
              batch_size: 8,
              eps: 1e-4,
              micro_batch_size: micro,
              ...(fields.train as object),
            },
            rollout: { inner_epochs: 3, ...(fields.rollout as object) },
          },
          corpus: fields.method === 'minillm' ? 8 : 0,
        });
        await world.run();
        const params = flatParams(world.state);
        world.dispose();
        return params;
      };
      const whole = await threeSteps(8);
      expect(relativeDistance(await threeSteps(1), whole)).toBeLessThan(1e-6);
      expect(relativeDistance(await threeSteps(2), whole)).toBeLessThan(1e-6);
    });
  });
}

/** What a loss with a soft cross-entropy cannot go below: the teacher's entropy, which a twin of the teacher has. */
async function entropyFloor(fields: Fields): Promise<number> {
  if (fields.method !== 'kd' && fields.method !== 'seqkd') return 0;
  const twin = tinyWorld({
    config: { ...fields, kd: { ratio: 1 }, train: { steps: 1, batch_size: 6 } },
    examples: 6,
    twin: true,
  });
  const [first] = await twin.run();
  twin.dispose();
  const share = (fields.kd as { ratio?: number } | undefined)?.ratio ?? 0.5;
  return share * first!.metrics.kd_loss!;
}

/** Mean reverse KL per response over many samples of the student, always the same streams. */
function reverseKl({ student, teachers, train }: TrainingContext): number {
  const samples = rollout(
    student,
    train.map((example, index) => ({ index, ids: example.promptIds })),
    {
      ...plainSampling,
      samples: 8,
      maxNewTokens: 6,
      eosIds: [EOS],
      seed: 99,
      round: 0,
      batchSize: 64,
      policyVersion: 0,
      teacher: { model: teachers[0]!, alpha: 0 },
    },
  );
  return samples.reduce((sum, t) => sum + t.kl!.reduce((a, b) => a + b, 0), 0) / samples.length;
}
