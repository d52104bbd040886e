import * as tf from '@tensorflow/tfjs-core';
import type { Sequence } from '../models/packed.js';
import { kdLoss } from '../objectives/kd.js';
import type { Method } from './method.js';
import { supervised } from './supervised.js';

/**
 * Word-level distillation with the forward KL (Hinton et al., arXiv 1503.02531; LMOps finetune.py): the token mean of
 * (1 − k)·CE + k·soft CE to the teacher on the gold responses, k = `kd.ratio`, temperature 1.
 *
 * @param examples what to learn from instead of the training data (`seqkd`)
 */
export function kd(examples?: () => readonly Sequence[]): Method {
  return supervised(
    ({ config }) =>
      (logits, targets, [teacher], { tokens }) => {
        const { loss, ce, softCe } = kdLoss(logits, teacher, targets, config.kd.ratio);
        const mean = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), tokens);
        return { loss: mean(loss), parts: { ce_loss: mean(ce), ...(softCe && { kd_loss: mean(softCe) }) } };
      },
    { teachers: true, ...(examples && { examples }) },
  );
}
