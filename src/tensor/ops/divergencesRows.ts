import * as tf from '@tensorflow/tfjs-core';
import { native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import * as raw from './raw.js';
import { writeRows } from './writeRows.js';

/** Divergence of each row, [n], and its gradient in the student's logits of that row, [n, V]. */
export interface RowValues {
  value: tf.Tensor1D;
  slope: tf.Tensor2D;
}

/** Logits worked on at a time, 4 MiB a tensor: some ten temporaries of a piece live at once, never of the whole. */
export const CHUNK = 1 << 20;

/**
 * A divergence between two matrices of logits, worked out of TensorFlow operations some rows at a time. Of the size of
 * the whole it makes one matrix, the slopes, which the backward pass multiplies by dy. Rows do not know of one another, so
 * that the pieces change no number beyond the rounding of other shapes.
 *
 * @param chunk logits in a piece, at least one row @param what name of the operation, for the error
 * @returns [N], gradient to the student only @throws UsageError if the shapes differ
 */
export function byRows(
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  f: (student: tf.Tensor2D, teacher: tf.Tensor2D) => RowValues,
  chunk = CHUNK,
): tf.Tensor1D {
  const [rows, width] = student.shape;
  const step = Math.max(1, Math.floor(chunk / width));
  return differentiable<tf.Tensor1D>(
    [student],
    (save) => {
      const { value, slope } = step >= rows ? f(student, teacher) : inPieces(student, teacher, f, step);
      save([slope]);
      return value;
    },
    (dy, [slope]) => [tf.mul(slope!, tf.reshape(dy, [rows, 1]))],
  );
}

function inPieces(
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  f: (student: tf.Tensor2D, teacher: tf.Tensor2D) => RowValues,
  step: number,
): RowValues {
  const [rows, width] = student.shape;
  const slope = tf.zeros<tf.Rank.R2>([rows, width]);
  const values: tf.Tensor1D[] = [];
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const value = tf.tidy(() => {
      const piece = (x: tf.Tensor2D): tf.Tensor2D => tf.slice(x, [first, 0], [count, width]);
      const result = f(piece(student), piece(teacher));
      writeRows(
        slope,
        Int32Array.from({ length: count }, (_, i) => first + i),
        result.slope,
      );
      return result.value;
    });
    values.push(value);
  }
  return { value: tf.concat(values), slope };
}

export function checkLogits(student: tf.Tensor2D, teacher: tf.Tensor2D, where: string): void {
  assertShape(student, [null, null], `${where}: studentLogits`);
  assertShape(teacher, student.shape, `${where}: teacherLogits`);
}

/**
 * [N, 1] sums over each row of x · weight, and the products themselves; a weight of 0 gives 0 whatever x is.
 */
export function weightedSum(x: tf.Tensor2D, weight: tf.Tensor2D): { terms: tf.Tensor2D; total: tf.Tensor2D } {
  const sum = (terms: tf.Tensor2D) => ({ terms, total: tf.sum(terms, 1, true) as tf.Tensor2D });
  if (native()) return sum(raw.plain('MulNoNan', x, weight));
  const product = sum(tf.mul(x, weight));
  // Comparisons are slow on wasm, and needed only where an infinite logit has made a NaN.
  if (product.total.dataSync().every(Number.isFinite)) return product;
  return sum(tf.where(tf.equal(weight, 0), tf.zerosLike(x), product.terms));
}
