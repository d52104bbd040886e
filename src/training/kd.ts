import * as tf from '@tensorflow/tfjs-core';
import { kdLoss } from '../objectives/kd.js';
import { softeningOf } from './divergenceLoss.js';
import type { Method } from './method.js';
import { type SupervisedOptions, supervised } from './supervised.js';

/**
 * Word-level distillation with the forward KL (Hinton et al., arXiv 1503.02531; LMOps finetune.py): the token mean of
 * (1 − k)·CE + k·soft CE to the teacher on the gold responses, k = `kd.ratio`, the second at temperature `train.kd_temperature`.
 *
 * @param sources what to learn from and to validate on instead of the gold responses (`seqkd`)
 */
export function kd(sources: Pick<SupervisedOptions, 'batch' | 'validation'> = {}): Method {
  return supervised(
    ({ config }) =>
      (logits, targets, [teacher], { tokens }) => {
        const softening = softeningOf(config.train);
        const { loss, ce, softCe } = kdLoss(logits, teacher, targets, config.kd.ratio, softening);
        const mean = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), tokens);
        return { loss: mean(loss), parts: { ce_loss: mean(ce), ...(softCe && { kd_loss: mean(softCe) }) } };
      },
    { teachers: true, ...sources },
  );
}
