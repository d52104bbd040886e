import * as tf from '@tensorflow/tfjs-core';
import type { Kept } from '../../kernels.js';
import { rowSums } from './rowSums.js';
import { writeRows } from './rows.js';

/** Divergence of each row, [n], and its gradient in the student's logits of that row, [n, V]. */
export interface RowValues {
  value: tf.Tensor1D;
  slope: tf.Tensor2D;
}

/** Logits worked on at a time, 4 MiB a tensor: some ten temporaries of a piece live at once, never of the whole. */
export const CHUNK = 1 << 20;

/**
 * A divergence between two matrices of logits, worked out of TensorFlow.js's operations some rows at a time. Of the size of
 * the whole it makes one matrix: the slopes, which the backward pass turns into the gradient where they lie. Rows do not know
 * of one another, so that the pieces change no number beyond the rounding of other shapes.
 *
 * @param chunk logits in a piece, at least one row
 */
export function byRows(
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  f: (student: tf.Tensor2D, teacher: tf.Tensor2D) => RowValues,
  chunk = CHUNK,
): Kept {
  const [rows, width] = student.shape;
  const step = Math.max(1, Math.floor(chunk / width));
  const { value, slope } = step >= rows ? f(student, teacher) : inPieces(student, teacher, f, step);
  return [value, [slope]];
}

/** dy · slope, for what `byRows` kept. */
export function byRowsGradient(dy: tf.Tensor1D, [slope]: tf.Tensor[], chunk = CHUNK): tf.Tensor2D {
  const [rows, width] = slope!.shape as [number, number];
  const step = Math.max(1, Math.floor(chunk / width));
  const factors = tf.reshape<tf.Rank.R2>(dy, [rows, 1]);
  return step >= rows
    ? tf.mul<tf.Tensor2D>(slope as tf.Tensor2D, factors)
    : scaleRows(slope as tf.Tensor2D, factors, step);
}

/** x · factors, a piece at a time into the memory of x: nobody else reads the slopes, and they are used once. */
function scaleRows(x: tf.Tensor2D, factors: tf.Tensor2D, step: number): tf.Tensor2D {
  const [rows, width] = x.shape;
  forPieces(rows, step, (first, count) => {
    const piece = tf.mul<tf.Tensor2D>(
      tf.slice(x, [first, 0], [count, width]),
      tf.slice(factors, [first, 0], [count, 1]),
    );
    writeRows(x, rowNumbers(first, count), piece);
  });
  return tf.reshape(x, [rows, width]);
}

function inPieces(
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  f: (student: tf.Tensor2D, teacher: tf.Tensor2D) => RowValues,
  step: number,
): RowValues {
  const [rows, width] = student.shape;
  const slope = tf.zeros<tf.Rank.R2>([rows, width]);
  const values = forPieces(rows, step, (first, count) => {
    const piece = (x: tf.Tensor2D): tf.Tensor2D => tf.slice(x, [first, 0], [count, width]);
    const result = f(piece(student), piece(teacher));
    writeRows(slope, rowNumbers(first, count), result.slope);
    return result.value;
  });
  return { value: tf.concat(values), slope };
}

/** What `f` gives for each piece of at most `step` rows; its other tensors are gone before the next piece begins. */
function forPieces<T extends tf.TensorContainer>(
  rows: number,
  step: number,
  f: (first: number, count: number) => T,
): T[] {
  const results: T[] = [];
  for (let first = 0; first < rows; first += step) {
    results.push(tf.tidy(() => f(first, Math.min(step, rows - first))));
  }
  return results;
}

function rowNumbers(first: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => first + i);
}

/**
 * [N, 1] sums over each row of x · weight, and the products themselves; a weight of 0 gives 0 whatever x is.
 */
export function weightedSum(x: tf.Tensor2D, weight: tf.Tensor2D): { terms: tf.Tensor2D; total: tf.Tensor2D } {
  const sum = (terms: tf.Tensor2D) => ({ terms, total: rowSums(terms) });
  const product = sum(tf.mul(x, weight));
  // Comparisons are slow on wasm, and needed only where an infinite logit has made a NaN.
  if (product.total.dataSync().every(Number.isFinite)) return product;
  return sum(tf.where(tf.equal(weight, 0), tf.zerosLike(x), product.terms));
}
