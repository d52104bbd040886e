import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { aggregationNames } from '../../src/objectives/aggregate.js';
import { whole } from '../../src/pieces.js';
import { rollout } from '../../src/rollout/engine.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import { disposeParams } from '../../src/tensor/params.js';
import { batchGradients } from '../../src/training/gradients.js';
import {
  EOS,
  flatParams,
  relativeDistance,
  tinyWorld,
  type World,
  type WorldOptions,
} from '../helpers/training.js';

type Fields = WorldOptions['config'];

const supervisedMethods: Record<string, Fields> = {
  sft: { method: 'sft' },
  'sft with prompts': { method: 'sft', train: { prompt_weight: 0.5 } },
  kd: { method: 'kd' },
  'kd, teacher alone': { method: 'kd', kd: { ratio: 1 } },
  'reverse-kd, softened': { method: 'reverse-kd', train: { kd_temperature: 2, kd_scale: 't-squared' } },
  'reverse-kd': { method: 'reverse-kd' },
  seqkd: { method: 'seqkd' },
  'babyllama, two teachers, token': { method: 'babyllama' },
  'babyllama, two teachers, batchmean': { method: 'babyllama', kd: { reduction: 'batchmean', alpha: 0.2 } },
};

/** Fresh responses at every step: what their loss is on fixed data is `objective`, not the loss of a step. */
const sampling: Record<string, Fields> = {
  gkd: { method: 'gkd' },
  'gkd, on-policy reverse KL': { method: 'gkd', gkd: { beta: 1, lambda: 1 } },
  'gkd, with samples of the teacher': { method: 'gkd', gkd: { beta: 0.1, seq_kd: true } },
  imitkd: { method: 'imitkd' },
  'imitkd, from gold to samples': { method: 'imitkd', imitkd: { gold_decay: 0.1 } },
  'distillm, skew reverse, buffer in use': {
    method: 'distillm',
    distillm: { threshold: 0.8, capacity: 16 },
  },
  'distillm, skew forward, gold, plain text': {
    method: 'distillm',
    distillm: { divergence: 'skew-forward', lm_coef: 0.1 },
  },
};

const policyGradient: Record<string, Fields> = {
  opd: { method: 'opd' },
  'minillm, preset minillm': { method: 'minillm' },
  'minillm, preset lmops': { method: 'minillm', objective: { preset: 'lmops' } },
  'minillm, preset paper': { method: 'minillm', objective: { preset: 'paper' } },
  'minillm, ratio of the response, a clip of two sides, entropy bonus': {
    method: 'minillm',
    objective: { ratio: 'sequence', entropy_coef: 0.1, cliprange: { low: 0.2, high: 0.3 } },
  },
  'minillm, leave-one-out and prefix weights': {
    method: 'minillm',
    objective: { baseline: 'leave-one-out', importance: 'prefix' },
    rollout: { samples: 2 },
  },
};

/** All methods, or one of each kind. */
type Share = 'all' | 'representative';

/** One of each kind: weighted tokens, sums over sequences, whitened advantages with pretraining. */
const representative = [
  'sft with prompts',
  'babyllama, two teachers, batchmean',
  'gkd, on-policy reverse KL',
  'minillm, preset lmops',
];

/** What else the gradient of a batch must not depend on its micro-batches with. */
const alsoAccumulated: Record<string, Fields> = {
  ...Object.fromEntries(
    aggregationNames.flatMap((aggregation) => [
      [
        `minillm, ${aggregation}, pretraining`,
        { method: 'minillm', objective: { preset: 'lmops', aggregation, lm_coef: 2 } },
      ],
      [`opd, ${aggregation}`, { method: 'opd', objective: { aggregation } }],
    ]),
  ),
  'minillm, length_norm total': { method: 'minillm', objective: { length_norm: 'total' } },
};

/**
 * Every method on a tiny random world; the same suite for every backend, `initBackend` must have run.
 *
 * @param learn the methods that are trained @param accumulate those whose micro-batches are compared
 */
export function methodsSuite({ learn, accumulate }: { learn: Share; accumulate: Share }): void {
  describe('learns: its own objective falls on fixed data', () => {
    it.each(some(supervisedMethods, learn))('%s', async (_, fields) => {
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

    it.each(some(sampling, learn))('%s: its objective on validation examples', async (_, fields) => {
      const before = tf.memory().numTensors;
      const world = tinyWorld({
        config: { ...fields, train: { steps: 20, batch_size: 8, lr: 0.03 } },
        examples: 8,
        corpus: fields.distillm ? 8 : 0,
      });
      const objective = () => whole(world.method.objective!(world.context, world.context.train));
      const start = objective();
      const records = await world.run();
      const end = objective();
      world.dispose();
      expect(tf.memory().numTensors).toBe(before);
      expect(end).toBeLessThan(0.6 * start);
      expect(end).toBeGreaterThan(0);
      expect(records.every(({ metrics }) => metrics.on_policy === 0 || metrics.on_policy === 1)).toBe(true);
    });

    it.each(some(policyGradient, learn))('%s: reverse KL to the teacher', async (_, fields) => {
      const before = tf.memory().numTensors;
      const world = tinyWorld({
        config: {
          ...fields,
          // Without a baseline the gradient of opd is far noisier.
          train: { steps: fields.method === 'opd' ? 60 : 16, batch_size: 8, lr: 0.03 },
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

  const chosen = some({ ...supervisedMethods, ...sampling, ...policyGradient }, accumulate);

  describe('an optimizer batch cut into 1, 2 and 8 micro-batches has one gradient, to 1e-6', () => {
    it.each([...chosen, ...some(alsoAccumulated, accumulate)])('%s', async (_, fields) => {
      const gradient = async (micro: number): Promise<Float64Array> => {
        const world = tinyWorld({
          config: {
            ...fields,
            train: { batch_size: 8, micro_batch_size: micro, ...(fields.train as object) },
          },
          corpus: fields.method === 'minillm' || fields.distillm ? 8 : 0,
        });
        const { method, context, state } = world;
        await method.prepare?.(context);
        state.round = 1;
        await method.collect?.(context, state);
        const { grads } = batchGradients(method.step(context, state).micro, state.params);
        const flat = flatParams({ ...state, params: grads! });
        disposeParams(grads!);
        world.dispose();
        return flat;
      };
      const whole = await gradient(8);
      expect(whole.some((x) => x !== 0)).toBe(true);
      expect(relativeDistance(await gradient(4), whole)).toBeLessThan(1e-6);
      expect(relativeDistance(await gradient(1), whole)).toBeLessThan(1e-6);
    });
  });

  describe('micro-batches of 1, 2 and 8 give the same three steps', () => {
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
          corpus: fields.method === 'minillm' || fields.distillm ? 8 : 0,
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

function some(methods: Record<string, Fields>, share: Share): [string, Fields][] {
  return Object.entries(methods).filter(([name]) => share === 'all' || representative.includes(name));
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
function reverseKl({ student, teachers, train }: World['context']): number {
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
