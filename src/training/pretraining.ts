import * as tf from '@tensorflow/tfjs-core';
import { packSequences, type Sequence, textSequence } from '../models/packed.js';
import { kdLoss } from '../objectives/kd.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { crossEntropyToTeacher } from '../tensor/ops/index.js';
import type { MicroBatch, TrainingContext } from './method.js';
import { batchIndices } from './order.js';
import type { TrainingState } from './state.js';
import { type Models, microBatches, responseTokens, sharedLogits, teacherLogits } from './supervised.js';

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
  const { corpus, config } = context;
  if (objective.lm_coef === 0 || corpus.length === 0) return [];
  const size = config.pretrain.batch_size ?? config.train.batch_size;
  const pieces = batchIndices(config.seed, 'pretrain', state.step, corpus.length, size).map((i) =>
    textSequence(corpus[i]!),
  );
  return textBatches(context, pieces, objective, config.train.micro_batch_size);
}

/**
 * The pretraining loss of given texts, divided by all tokens they predict.
 *
 * @param withTeacher run the teacher: for the loss itself only needed where k > 0; else it is only reported (`ds_loss`)
 */
export function textBatches(
  models: Models,
  texts: readonly Sequence[],
  { lm_coef, kd_ratio }: Pick<ObjectiveConfig, 'lm_coef' | 'kd_ratio'>,
  microBatchSize: number | undefined,
  withTeacher = kd_ratio > 0,
): MicroBatch[] {
  const tokens = responseTokens(texts);
  return microBatches(texts, microBatchSize).map((part): MicroBatch => {
    const batch = packSequences(part);
    return {
      constants: () => [
        tf.tensor1d(batch.targets, 'int32'),
        ...(withTeacher ? teacherLogits(models, batch) : []),
      ],
      loss(params, [targets, teacher]) {
        const logits = sharedLogits(models, params, models.student, batch);
        const { loss, ce, softCe } = kdLoss(
          logits,
          teacher as tf.Tensor2D | undefined,
          targets as tf.Tensor1D,
          kd_ratio,
        );
        const ds = softCe ?? (teacher && crossEntropyToTeacher(logits, teacher as tf.Tensor2D));
        const mean = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), tokens);
        const pt = mean(loss);
        return {
          loss: tf.mul(pt, lm_coef),
          parts: { lm_loss: mean(ce), ...(ds && { ds_loss: mean(ds) }), pt_loss: pt },
        };
      },
    };
  });
}
