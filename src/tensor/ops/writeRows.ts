import type * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../../errors.js';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';

/**
 * Overwrites rows of a buffer in place: buffer[rows[n]] = values[n]. For key/value caches.
 *
 * Every alias of the buffer sees the write, so never pass a tensor that a gradient tape has saved. The result is
 * a new handle on the same memory (an ordinary temporary for the caller's tidy); read through it rather than
 * through `buffer`, so that the order of write and read stays explicit. No gradient.
 *
 * @param buffer [R, D], owned by the caller @param rows distinct, each in [0, R) @param values [rows.length, D]
 * @throws UsageError if the shapes do not fit or a row is out of range
 */
export function writeRows(buffer: tf.Tensor2D, rows: Int32Array, values: tf.Tensor2D): tf.Tensor2D {
  assertShape(buffer, [null, null], 'writeRows: buffer');
  const [count, width] = buffer.shape;
  assertShape(values, [rows.length, width], 'writeRows: values');
  for (const row of rows) {
    // The engines write out of bounds without a word.
    if (!(row >= 0 && row < count)) {
      throw new UsageError(`writeRows: row ${row} found, a row of 0 to ${count - 1} expected`);
    }
  }
  return kernels().writeRows(buffer, rows, values);
}
