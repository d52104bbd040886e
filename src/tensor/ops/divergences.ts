import * as tf from '@tensorflow/tfjs-core';
import { native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import * as raw from './raw.js';
import { logSoftmax, softmax } from './softmax.js';

/**
 * Divergences between the student q and the teacher p over the whole vocabulary, one number per row, in nats.
 *
 * All take logits [N, V] of both; the gradient goes to the student's logits only. A token of probability 0 under
 * the weighting distribution counts 0 even where the other logarithm is infinite (0 · ∞ = 0); a token that the
 * weighting distribution allows and the other forbids makes the divergence infinite, as it is.
 */

/**
 * Reverse KL, KL(q‖p) = Σ_v q(v) (ln q(v) − ln p(v)) (MiniLLM, arXiv 2306.08543, eq. 1, at one state).
 *
 * Gradient in the logits of q: q(v) (ln q(v) − ln p(v) − KL).
 *
 * @param studentLogits [N, V] @param teacherLogits [N, V] @returns [N]
 * @throws UsageError if the shapes differ
 */
export function reverseKl(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D): tf.Tensor1D {
  check(studentLogits, teacherLogits, 'reverseKl');
  const rows = studentLogits.shape[0];
  return differentiable<tf.Tensor1D>(
    [studentLogits],
    (save) => {
      const q = softmax(studentLogits);
      const logp = logSoftmax(teacherLogits, softmax(teacherLogits));
      const terms = weighted(tf.sub(logSoftmax(studentLogits, q), logp), q); // q (ln q − ln p)
      const kl = tf.sum(terms, 1, true) as tf.Tensor2D;
      save([q, terms, kl]);
      return tf.reshape(kl, [rows]);
    },
    (dy, [q, terms, kl]) => [tf.mul(tf.sub(terms!, tf.mul(q!, kl!)), tf.reshape(dy, [rows, 1]))],
  );
}

/**
 * Forward KL, KL(p‖q) = Σ_v p(v) (ln p(v) − ln q(v)): word-level distillation (Hinton et al., arXiv 1503.02531).
 *
 * Gradient in the logits of q: q(v) − p(v).
 *
 * @param studentLogits [N, V] @param teacherLogits [N, V] @returns [N]
 * @throws UsageError if the shapes differ
 */
export function forwardKl(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D): tf.Tensor1D {
  check(studentLogits, teacherLogits, 'forwardKl');
  return towardsTeacher(studentLogits, teacherLogits, (logq, p) =>
    tf.sub(logSoftmax(teacherLogits, p), logq),
  );
}

/**
 * Soft cross entropy −Σ_v p(v) ln q(v) = KL(p‖q) + entropy of p; the gradient is that of `forwardKl`.
 *
 * @param studentLogits [N, V] @param teacherLogits [N, V] @returns [N]
 * @throws UsageError if the shapes differ
 */
export function crossEntropyToTeacher(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D): tf.Tensor1D {
  check(studentLogits, teacherLogits, 'crossEntropyToTeacher');
  return towardsTeacher(studentLogits, teacherLogits, (logq) => tf.neg(logq));
}

/** Σ_v p(v) f(v) for the two losses whose gradient in the logits is q − p. */
function towardsTeacher(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  f: (logq: tf.Tensor2D, p: tf.Tensor2D) => tf.Tensor2D,
): tf.Tensor1D {
  const rows = studentLogits.shape[0];
  return differentiable<tf.Tensor1D>(
    [studentLogits],
    (save) => {
      const p = softmax(teacherLogits);
      const q = softmax(studentLogits);
      save([q, p]);
      return tf.sum(weighted(f(logSoftmax(studentLogits, q), p), p), 1) as tf.Tensor1D;
    },
    (dy, [q, p]) => [tf.mul(tf.sub(q!, p!), tf.reshape(dy, [rows, 1]))],
  );
}

function check(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D, where: string): void {
  assertShape(studentLogits, [null, null], `${where}: studentLogits`);
  assertShape(teacherLogits, studentLogits.shape, `${where}: teacherLogits`);
}

/** x · weight, and 0 where the weight is 0 whatever x is. */
function weighted(x: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D {
  if (native()) return raw.plain('MulNoNan', x, weight);
  return tf.where(tf.equal(weight, 0), tf.zerosLike(x), tf.mul<tf.Tensor2D>(x, weight));
}
