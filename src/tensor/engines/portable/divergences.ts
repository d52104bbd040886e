import * as tf from '@tensorflow/tfjs-core';
import type { DivergenceKind, Kernels } from '../../kernels.js';
import { byRows, byRowsGradient, type RowValues, weightedSum } from './byRows.js';
import { logSoftmax, softmax } from './softmax.js';

type Rows = (student: tf.Tensor2D, teacher: tf.Tensor2D) => RowValues;

function reverseRows(student: tf.Tensor2D, teacher: tf.Tensor2D): RowValues {
  const q = softmax(student);
  const { terms, total } = weightedSum(tf.sub(logSoftmax(student, q), logSoftmax(teacher)), q);
  return { value: tf.reshape(total, [total.size]), slope: tf.sub<tf.Tensor2D>(terms, tf.mul(q, total)) };
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

const rowsOf: Record<DivergenceKind, Rows> = {
  reverseKl: reverseRows,
  forwardKl: towardsTeacher((logq, p, teacher) => tf.sub(logSoftmax(teacher, p), logq)),
  crossEntropy: towardsTeacher((logq) => tf.neg(logq)),
};

/** The divergences of ops/divergences.ts. */
export const divergences: Pick<Kernels, 'divergence' | 'divergenceGrad'> = {
  divergence: (kind, student, teacher, chunk) => byRows(student, teacher, rowsOf[kind], chunk),
  divergenceGrad: (_, dy, kept, chunk) => byRowsGradient(dy, kept, chunk),
};
