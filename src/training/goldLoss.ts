import * as tf from '@tensorflow/tfjs-core';
import { packSequences } from '../models/packed.js';
import { crossEntropy } from '../objectives/kd.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { MicroBatch, TrainingContext } from './method.js';
import { ownMicroBatches } from './microBatches.js';
import { responseTokens, sharedLogits } from './supervised.js';

/**
 * The cross-entropy on the gold responses to the prompts of an optimizer step, each prompt once, token mean:
 *
 *     gold_coef · Σ_n −ln q(y_n | s_n) / tokens
 *
 * the loss of `sft` beside what the trajectories give. No micro-batch with gold_coef 0.
 *
 * @param trajectories of the step; `promptIndex` is the place of the row in the training data
 */
export function goldBatches(
  context: TrainingContext,
  trajectories: readonly Trajectory[],
  { gold_coef }: Pick<ObjectiveConfig, 'gold_coef'>,
): MicroBatch[] {
  if (gold_coef === 0) return [];
  const prompts = [...new Set(trajectories.map(({ promptIndex }) => promptIndex))];
  const examples = prompts.map((index) => context.train.at(index)!);
  const tokens = responseTokens(examples);
  const { micro_batch_size } = context.config.train;
  return ownMicroBatches(examples, micro_batch_size, context.shards).map(({ part, shard }): MicroBatch => {
    const batch = packSequences(part);
    return {
      shard,
      constants: () => [tf.tensor1d(batch.targets, 'int32')],
      loss(params, [targets]) {
        const logits = sharedLogits(context, params, context.student, batch);
        const mean: tf.Scalar = tf.div(tf.sum(crossEntropy(logits, targets as tf.Tensor1D)), tokens);
        return { loss: tf.mul(mean, gold_coef), parts: { gold_loss: mean } };
      },
    };
  });
}
