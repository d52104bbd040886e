import * as tf from '@tensorflow/tfjs-core';
import { packSequences, textSequence } from '../models/packed.js';
import { kdLoss } from '../objectives/kd.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import type { MicroBatch, TrainingContext } from './method.js';
import { batchIndices } from './order.js';
import type { TrainingState } from './state.js';
import { microBatches, responseTokens, sharedLogits, teacherLogits } from './supervised.js';

/**
 * The pretraining loss of MiniLLM on pieces of plain text, token mean, temperature 1:
 *
 *     lm_coef · [ (1 − k)·CE + k·soft CE to the teacher ],   k = kd_ratio
 *
 * The paper (Algorithm 1) has CE alone (k = 0); the official code mixes in the teacher at k = 0.5 (LMOps losses.py,
 * pt_loss). Returns no micro-batch without a corpus or with lm_coef 0. The teacher runs only where k > 0.
 */
export function pretrainingBatches(
  context: TrainingContext,
  state: TrainingState,
  objective: ObjectiveConfig,
): MicroBatch[] {
  const { lm_coef, kd_ratio } = objective;
  const { corpus, config } = context;
  if (lm_coef === 0 || corpus.length === 0) return [];
  const size = config.pretrain.batch_size ?? config.train.batch_size;
  const pieces = batchIndices(config.seed, 'pretrain', state.step, corpus.length, size).map((i) =>
    textSequence(corpus[i]!),
  );
  const tokens = responseTokens(pieces);
  return microBatches(pieces, config.train.micro_batch_size).map((part): MicroBatch => {
    const batch = packSequences(part);
    return {
      constants: () => [
        tf.tensor1d(batch.targets, 'int32'),
        ...(kd_ratio > 0 ? teacherLogits(context, batch) : []),
      ],
      loss(params, [targets, teacher]) {
        const logits = sharedLogits(context, params, context.student, batch);
        const { loss, ce, softCe } = kdLoss(
          logits,
          teacher as tf.Tensor2D | undefined,
          targets as tf.Tensor1D,
          kd_ratio,
        );
        const mean = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), tokens);
        const pt = mean(loss);
        return {
          loss: tf.mul(pt, lm_coef),
          parts: { lm_loss: mean(ce), ...(softCe && { ds_loss: mean(softCe) }), pt_loss: pt },
        };
      },
    };
  });
}
