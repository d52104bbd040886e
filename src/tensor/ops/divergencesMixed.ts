import type * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../../errors.js';
import { kernels, type MixtureKind } from '../kernels.js';
import { differentiable } from './custom.js';
import { checkLogits, forwardKl, reverseKl } from './divergences.js';

/*
 * Divergences from a mixture of both models: finite however far the models are apart. Logits [N, V] of both, one number in
 * nats per row, gradient to the student's logits only.
 */

/**
 * Generalised Jensen-Shannon divergence in the convention of GKD (Agarwal et al., arXiv 2306.13649, eq. 1):
 *
 *     JSD(β) = β KL(p‖m) + (1 − β) KL(q‖m),   m = βp + (1 − β)q
 *
 * The formula itself is 0 at both ends, while JSD(β)/β -> KL(p‖q) and JSD(β)/(1 − β) -> KL(q‖p). By the convention
 * of the published code the ends are those limits: β = 0 is the forward KL, β = 1 the reverse KL.
 *
 * Gradient in the logits of q: (1 − β) q(v) (ln(q/m)(v) − KL(q‖m)).
 *
 * @throws UsageError if the shapes differ or β is outside [0, 1]
 */
export function jensenShannon(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  beta: number,
  chunk?: number,
): tf.Tensor1D {
  share(beta, 'jensenShannon: beta');
  if (beta === 0) return forwardKl(studentLogits, teacherLogits, chunk);
  if (beta === 1) return reverseKl(studentLogits, teacherLogits, chunk);
  checkLogits(studentLogits, teacherLogits, 'jensenShannon');
  return mixture(studentLogits, teacherLogits, { a: beta, b: 1 - beta, c: beta }, chunk);
}

/**
 * Skew forward KL, KL(p‖λp + (1 − λ)q) (DistiLLM, Ko et al., arXiv 2402.03898): λ = 0 is the forward KL, λ = 1 zero; at most
 * −ln λ.
 *
 * Gradient in the logits of q: −(1 − λ) (w(v) − q(v) Σ w), w = pq/m.
 *
 * @throws UsageError if the shapes differ or λ is outside [0, 1]
 */
export function skewForwardKl(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  lambda: number,
  chunk?: number,
): tf.Tensor1D {
  share(lambda, 'skewForwardKl: lambda');
  if (lambda === 0) return forwardKl(studentLogits, teacherLogits, chunk);
  checkLogits(studentLogits, teacherLogits, 'skewForwardKl');
  return mixture(studentLogits, teacherLogits, { a: 1, b: 0, c: lambda }, chunk);
}

/**
 * Skew reverse KL, KL(q‖(1 − λ)p + λq) (DistiLLM, arXiv 2402.03898): λ = 0 is the reverse KL, λ = 1 zero; at most −ln λ.
 *
 * Gradient in the logits of q: h(v) − q(v) Σ h, h = q ln(q/m) + (1 − λ) pq/m.
 *
 * @throws UsageError if the shapes differ or λ is outside [0, 1]
 */
export function skewReverseKl(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  lambda: number,
  chunk?: number,
): tf.Tensor1D {
  share(lambda, 'skewReverseKl: lambda');
  if (lambda === 0) return reverseKl(studentLogits, teacherLogits, chunk);
  checkLogits(studentLogits, teacherLogits, 'skewReverseKl');
  return mixture(studentLogits, teacherLogits, { a: 0, b: 1, c: 1 - lambda }, chunk);
}

/**
 * Total variation distance ½ Σ_v |p(v) − q(v)|, between 0 and 1.
 *
 * Gradient in the logits of q: ½ q(v) (σ(v) − Σ q σ), σ = sign(q − p), 0 where both are equal.
 *
 * @throws UsageError if the shapes differ
 */
export function totalVariation(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  chunk?: number,
): tf.Tensor1D {
  checkLogits(studentLogits, teacherLogits, 'totalVariation');
  return mixture(studentLogits, teacherLogits, 'totalVariation', chunk);
}

function mixture(student: tf.Tensor2D, teacher: tf.Tensor2D, of: MixtureKind, chunk?: number): tf.Tensor1D {
  return differentiable<tf.Tensor1D>(
    [student],
    (save) => {
      const [y, kept] = kernels().mixture(of, student, teacher, chunk);
      save(kept);
      return y;
    },
    (dy, kept) => [kernels().mixtureGrad(of, dy, kept, chunk)],
  );
}

function share(x: number, what: string): void {
  if (!(x >= 0 && x <= 1)) throw new UsageError(`${what}: ${x} found, expected a number from 0 to 1`);
}
