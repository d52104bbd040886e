import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import { byRows, byRowsGradient, type RowValues } from './byRows.js';
import { rowSums } from './rowSums.js';
import { softmax } from './softmax.js';

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

/** x − q Σ x: from q times the derivative in q to the derivative in the logits. */
function centred(x: tf.Tensor2D, q: tf.Tensor2D): tf.Tensor2D {
  return tf.sub<tf.Tensor2D>(x, tf.mul(q, rowSums(x)));
}

function flat(x: tf.Tensor2D): tf.Tensor1D {
  return tf.reshape(x, [x.size]);
}

/** The divergences of ops/divergencesMixed.ts. */
export const mixtures: Pick<Kernels, 'mixture' | 'mixtureGrad'> = {
  mixture: (of, student, teacher, chunk) =>
    byRows(student, teacher, of === 'totalVariation' ? variationRows : mixtureRows(of), chunk),
  mixtureGrad: (_, dy, kept, chunk) => byRowsGradient(dy, kept, chunk),
};
