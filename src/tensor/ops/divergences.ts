import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels } from '../backend.js';
import { differentiable } from './custom.js';
import { byRows, checkLogits, type RowValues, weightedSum } from './divergencesRows.js';
import * as raw from './raw.js';
import { logSoftmax, softmax } from './softmax.js';

/**
 * Divergences between the student q and the teacher p over the whole vocabulary, one number per row, in nats.
 *
 * All take logits [N, V] of both; the gradient goes to the student's logits only. Without the kernels they are worked out
 * `chunk` logits at a time (`byRows`). A token of probability 0 under
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
export function reverseKl(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  chunk?: number,
): tf.Tensor1D {
  checkLogits(studentLogits, teacherLogits, 'reverseKl');
  if (fusedKernels()) return fusedDivergence(studentLogits, teacherLogits, 0);
  return byRows(studentLogits, teacherLogits, reverseRows, chunk);
}

function reverseRows(student: tf.Tensor2D, teacher: tf.Tensor2D): RowValues {
  const q = softmax(student);
  const { terms, total } = weightedSum(tf.sub(logSoftmax(student, q), logSoftmax(teacher)), q);
  return { value: tf.reshape(total, [total.size]), slope: tf.sub<tf.Tensor2D>(terms, tf.mul(q, total)) };
}

/**
 * Forward KL, KL(p‖q) = Σ_v p(v) (ln p(v) − ln q(v)): word-level distillation (Hinton et al., arXiv 1503.02531).
 *
 * Gradient in the logits of q: q(v) − p(v).
 *
 * @param studentLogits [N, V] @param teacherLogits [N, V] @returns [N]
 * @throws UsageError if the shapes differ
 */
export function forwardKl(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  chunk?: number,
): tf.Tensor1D {
  checkLogits(studentLogits, teacherLogits, 'forwardKl');
  if (fusedKernels()) return fusedDivergence(studentLogits, teacherLogits, 1);
  return byRows(
    studentLogits,
    teacherLogits,
    towardsTeacher((logq, p, teacher) => tf.sub(logSoftmax(teacher, p), logq)),
    chunk,
  );
}

/**
 * Soft cross entropy −Σ_v p(v) ln q(v) = KL(p‖q) + entropy of p; the gradient is that of `forwardKl`.
 *
 * @param studentLogits [N, V] @param teacherLogits [N, V] @returns [N]
 * @throws UsageError if the shapes differ
 */
export function crossEntropyToTeacher(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  chunk?: number,
): tf.Tensor1D {
  checkLogits(studentLogits, teacherLogits, 'crossEntropyToTeacher');
  if (fusedKernels()) return fusedDivergence(studentLogits, teacherLogits, 2);
  return byRows(
    studentLogits,
    teacherLogits,
    towardsTeacher((logq) => tf.neg(logq)),
    chunk,
  );
}

/** Σ_v p(v) f(v) for the two losses whose gradient in the logits is q − p. */
function towardsTeacher(f: (logq: tf.Tensor2D, p: tf.Tensor2D, teacher: tf.Tensor2D) => tf.Tensor2D) {
  return (student: tf.Tensor2D, teacher: tf.Tensor2D): RowValues => {
    const p = softmax(teacher);
    const q = softmax(student);
    const { total } = weightedSum(f(logSoftmax(student, q), p, teacher), p);
    return { value: tf.reshape(total, [total.size]), slope: tf.sub<tf.Tensor2D>(q, p) };
  };
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
