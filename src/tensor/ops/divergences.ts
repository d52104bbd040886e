import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
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
  if (fusedKernels()) return fusedDivergence(studentLogits, teacherLogits, 0);
  const rows = studentLogits.shape[0];
  return differentiable<tf.Tensor1D>(
    [studentLogits],
    (save) => {
      const q = softmax(studentLogits);
      const logRatio = tf.sub<tf.Tensor2D>(logSoftmax(studentLogits, q), logSoftmax(teacherLogits));
      const { terms, total } = weightedSum(logRatio, q);
      save([q, terms, total]);
      return tf.reshape(total, [rows]);
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
  if (fusedKernels()) return fusedDivergence(studentLogits, teacherLogits, 1);
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
  if (fusedKernels()) return fusedDivergence(studentLogits, teacherLogits, 2);
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
      return tf.reshape(weightedSum(f(logSoftmax(studentLogits, q), p), p).total, [rows]);
    },
    (dy, [q, p]) => [tf.mul(tf.sub(q!, p!), tf.reshape(dy, [rows, 1]))],
  );
}

/** By one kernel each way: no tensor of the vocabulary's width is made but the gradient. `kind` as in losses.cc. */
function fusedDivergence(student: tf.Tensor2D, teacher: tf.Tensor2D, kind: 0 | 1 | 2): tf.Tensor1D {
  const attrs = [raw.attr.int('kind', kind)];
  return differentiable<tf.Tensor1D>(
    [student],
    (save) => {
      const [y, norms] = raw.runAll('MinillmDivergence', attrs, [student, teacher], 2);
      save([student, teacher, y!, norms!]);
      return y as tf.Tensor1D;
    },
    (dy, saved) => [raw.run('MinillmDivergenceGrad', attrs, [dy, ...saved])],
  );
}

function check(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D, where: string): void {
  assertShape(studentLogits, [null, null], `${where}: studentLogits`);
  assertShape(teacherLogits, studentLogits.shape, `${where}: teacherLogits`);
}

/**
 * [N, 1] sums over each row of x · weight, and the products themselves; a weight of 0 gives 0 whatever x is.
 */
function weightedSum(x: tf.Tensor2D, weight: tf.Tensor2D): { terms: tf.Tensor2D; total: tf.Tensor2D } {
  const sum = (terms: tf.Tensor2D) => ({ terms, total: tf.sum(terms, 1, true) as tf.Tensor2D });
  if (native()) return sum(raw.plain('MulNoNan', x, weight));
  const product = sum(tf.mul(x, weight));
  // Comparisons are slow on wasm, and needed only where an infinite logit has made a NaN.
  if (product.total.dataSync().every(Number.isFinite)) return product;
  return sum(tf.where(tf.equal(weight, 0), tf.zerosLike(x), product.terms));
}
