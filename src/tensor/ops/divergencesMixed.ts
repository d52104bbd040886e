import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../../errors.js';
import { fusedKernels } from '../backend.js';
import { differentiable } from './custom.js';
import { forwardKl, reverseKl } from './divergences.js';
import { byRows, checkLogits, type RowValues } from './divergencesRows.js';
import * as raw from './raw.js';
import { rowSums } from './rowSums.js';
import { softmax } from './softmax.js';

/*
 * Divergences from a mixture of both models: finite however far the models are apart. Logits [N, V] of both, one number in
 * nats per row, gradient to the student's logits only. By a kernel where it is there, else some rows at a time (`byRows`).
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
  if (mixtureKernel()) return fused(studentLogits, teacherLogits, { a: 0, b: 0, c: 0 }, 1);
  return byRows(studentLogits, teacherLogits, variationRows, chunk);
}

function variationRows(student: tf.Tensor2D, teacher: tf.Tensor2D): RowValues {
  const q = softmax(student);
  const difference = tf.sub<tf.Tensor2D>(q, softmax(teacher));
  // The sign of wasm is 0 below 1e-7.
  const sign = tf.clipByValue<tf.Tensor2D>(tf.mul<tf.Tensor2D>(difference, 1e30), -1, 1);
  const distances: tf.Tensor2D = tf.mul(difference, sign);
  return {
    value: tf.mul(flat(rowSums(distances)), 0.5),
    slope: centred(tf.mul(tf.mul<tf.Tensor2D>(q, sign), 0.5), q),
  };
}

/** Keeps 0/0 out: below the smallest float32 that engines do not flush to zero, so it changes no other quotient. */
const TINY = 1e-37;

/** a·KL(p‖m) + b·KL(q‖m) with m = cp + (1 − c)q. */
interface Mixture {
  a: number;
  b: number;
  c: number;
}

function mixture(student: tf.Tensor2D, teacher: tf.Tensor2D, of: Mixture, chunk?: number): tf.Tensor1D {
  return mixtureKernel() ? fused(student, teacher, of, 0) : byRows(student, teacher, mixtureRows(of), chunk);
}

/**
 * The derivative in q(v) is, up to a constant that the softmax takes away, b ln(q/m) + k p/m with this k. It is 0 for JSD.
 */
function shareOfRatio({ a, b, c }: Mixture): number {
  return b * c - a * (1 - c);
}

/** The logarithms are of ratios to m, so that equal models give 0. */
function mixtureRows(of: Mixture) {
  const { a, b, c } = of;
  const k = shareOfRatio(of);
  return (student: tf.Tensor2D, teacher: tf.Tensor2D): RowValues => {
    const q = softmax(student);
    const p = softmax(teacher);
    /** x ln(x/m), where x has share w in m and y the rest. */
    const terms = (x: tf.Tensor2D, y: tf.Tensor2D, w: number): tf.Tensor2D => {
      const mixtureOverX = tf.add(tf.mul(tf.div(y, tf.add(x, TINY)), 1 - w), w);
      return tf.neg(tf.mul<tf.Tensor2D>(x, tf.log(mixtureOverX)));
    };
    const sum = (x: tf.Tensor2D, factor: number): tf.Tensor1D => tf.mul(flat(rowSums(x)), factor);
    const ofStudent = b === 0 ? undefined : terms(q, p, 1 - c);
    const values = [...(a === 0 ? [] : [sum(terms(p, q, c), a)]), ...(ofStudent ? [sum(ofStudent, b)] : [])];
    /** k pq/m; nothing for JSD. */
    const rest = (): tf.Tensor2D => {
      const mixture = tf.add(tf.mul(p, c), tf.mul(q, 1 - c));
      return tf.div(tf.mul(tf.mul(p, q), k), tf.add(mixture, TINY));
    };
    const slopes: tf.Tensor2D[] = [
      ...(ofStudent ? [tf.mul<tf.Tensor2D>(ofStudent, b)] : []),
      ...(ofStudent && k === 0 ? [] : [rest()]),
    ];
    return { value: tf.addN<tf.Tensor1D>(values), slope: centred(tf.addN<tf.Tensor2D>(slopes), q) };
  };
}

/** By one kernel each way (kernels/mixtures.cc): the gradient is all that is made of the size of the logits. */
function fused(student: tf.Tensor2D, teacher: tf.Tensor2D, of: Mixture, kind: 0 | 1): tf.Tensor1D {
  const attrs = [
    ...Object.entries({ ...of, k: shareOfRatio(of) }).map(([name, value]) => raw.attr.float(name, value)),
    raw.attr.int('kind', kind),
  ];
  return differentiable<tf.Tensor1D>(
    [student],
    (save) => {
      const [y, centre, norms] = raw.runAll('MinillmMixture', attrs, [student, teacher], 3);
      save([student, teacher, centre!, norms!]);
      return y as tf.Tensor1D;
    },
    (dy, saved) => [raw.run('MinillmMixtureGrad', attrs, [dy, ...saved])],
  );
}

let there: boolean | undefined;

/** Whether the kernel serves: an addon compiled before it came knows the others only. */
function mixtureKernel(): boolean {
  if (!fusedKernels()) return false;
  there ??= tf.tidy(() => {
    const one = tf.zeros<tf.Rank.R2>([1, 1]);
    const attrs = ['a', 'b', 'c', 'k'].map((name) => raw.attr.float(name, 0));
    try {
      raw.runAll('MinillmMixture', [...attrs, raw.attr.int('kind', 1)], [one, one], 3);
      return true;
    } catch {
      return false;
    }
  });
  return there;
}

/** x − q Σ x: from q times the derivative in q to the derivative in the logits. */
function centred(x: tf.Tensor2D, q: tf.Tensor2D): tf.Tensor2D {
  return tf.sub<tf.Tensor2D>(x, tf.mul(q, rowSums(x)));
}

function flat(x: tf.Tensor2D): tf.Tensor1D {
  return tf.reshape(x, [x.size]);
}

function share(x: number, what: string): void {
  if (!(x >= 0 && x <= 1)) throw new UsageError(`${what}: ${x} found, expected a number from 0 to 1`);
}
