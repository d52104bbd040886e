import type * as tf from '@tensorflow/tfjs-core';
import { type DivergenceKind, kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';

/**
 * Divergences between the student q and the teacher p over the whole vocabulary, one number per row, in nats.
 *
 * All take logits [N, V] of both; the gradient goes to the student's logits only. `chunk`: how many
 * logits an engine that makes temporaries of that size works on at a time. A token of probability 0 under
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
  return divergence('reverseKl', studentLogits, teacherLogits, chunk);
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
  return divergence('forwardKl', studentLogits, teacherLogits, chunk);
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
  return divergence('crossEntropy', studentLogits, teacherLogits, chunk);
}

function divergence(
  kind: DivergenceKind,
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  chunk?: number,
): tf.Tensor1D {
  return differentiable<tf.Tensor1D>(
    [student],
    (save) => {
      const [y, kept] = kernels().divergence(kind, student, teacher, chunk);
      save(kept);
      return y;
    },
    (dy, kept) => [kernels().divergenceGrad(kind, dy, kept, chunk)],
  );
}

export function checkLogits(student: tf.Tensor2D, teacher: tf.Tensor2D, where: string): void {
  assertShape(student, [null, null], `${where}: studentLogits`);
  assertShape(teacher, student.shape, `${where}: teacherLogits`);
}
