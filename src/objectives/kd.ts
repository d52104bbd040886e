import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { crossEntropyToTeacher, tokenLogprob } from '../tensor/ops/index.js';
import { noSoftening, type Softening, softened } from './softening.js';

/**
 * Cross-entropy of given tokens, −ln q(y_t | s_t): the loss of `sft`.
 *
 * @param studentLogits [N, V] @param ids int32 [N] @returns [N], nats
 */
export function crossEntropy(studentLogits: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor1D {
  return tf.neg(tokenLogprob(studentLogits, ids));
}

/** Per-token losses of word-level distillation, all [N]. */
export interface KdLoss {
  loss: tf.Tensor1D;
  ce: tf.Tensor1D;
  /** −Σ_v p(v) ln q(v), at the temperature and scaled; absent for ratio 0, where no teacher is asked. */
  softCe?: tf.Tensor1D;
}

/**
 * Word-level distillation on given tokens, and the pretraining loss of MiniLLM (LMOps losses.py:198-232):
 *
 *     loss_t = (1 − k) · (−ln q(y_t)) + k · (−Σ_v p(v) ln q(v))
 *
 * On gold responses with k = 0.5 this is `kd`, on the teacher's own samples `seqkd`, on plain text L_PT = (1−k)·L_lm +
 * k·L_ds. The soft cross-entropy differs from KL(p‖q) by the entropy of p only: same gradient, and the value is the one
 * that LMOps reports. Both are at temperature 1 unless `softening` says more: it softens the second term alone (Hinton et al.,
 * arXiv 1503.02531), which `kdScales` may scale.
 *
 * @param teacherLogits [N, V]; not needed for ratio 0 @param ratio k
 * @throws UsageError when ratio > 0 and there are no teacher logits
 */
export function kdLoss(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D | undefined,
  ids: tf.Tensor1D,
  ratio: number,
  softening: Softening = noSoftening,
): KdLoss {
  const ce = crossEntropy(studentLogits, ids);
  if (ratio === 0) return { loss: ce, ce };
  if (!teacherLogits)
    throw new UsageError(`kd: a teacher share of ${ratio} needs a teacher; set it to 0 or give one`);
  const softCe = softened(softening, studentLogits, teacherLogits, (q, p) => crossEntropyToTeacher(q, p));
  return { loss: tf.add(tf.mul(ce, 1 - ratio), tf.mul(softCe, ratio)), ce, softCe };
}
