import * as tf from '@tensorflow/tfjs-core';
import { freeze } from './frozen.js';
import { fromBf16, fromF16, toBf16, toF16 } from './halfFloats.js';

/** How a matrix of weights that does not train may be kept in memory, beside float32. */
export const halfDtypes = ['bfloat16', 'float16'] as const;
export type HalfDtype = (typeof halfDtypes)[number];

/** What a 16-bit matrix means. */
export interface Half {
  dtype: HalfDtype;
  /** Rows and columns, as of the float32 matrix. */
  shape: [rows: number, columns: number];
}

const halves = new WeakMap<tf.Tensor['dataId'], Half>();

/**
 * A 16-bit matrix. TensorFlow.js has no type for it, so it is an int32 tensor [rows, ceil(columns / 2)] whose numbers hold two
 * neighbours of a row, the first in the lower half; an odd row ends in a 0. The mark is on its memory, as that of frozen tensors,
 * which it also becomes. Only some kernels take one (kernels.ts).
 *
 * @param packed its numbers, as `packHalves` makes them; marked and returned
 */
export function asHalf(packed: tf.Tensor2D, half: Half): tf.Tensor2D {
  halves.set(packed.dataId, half);
  return freeze(packed);
}

/** What a tensor means, if it is a 16-bit matrix. */
export function halfOf(x: tf.Tensor): Half | undefined {
  return halves.get(x.dataId);
}

/** The shape of the numbers that a tensor means: its own, but for a 16-bit matrix. */
export function shapeOf(x: tf.Tensor): number[] {
  return halfOf(x)?.shape ?? x.shape;
}

/** Columns of the int32 tensor that holds so many of 16 bits. */
export const packedColumns = (columns: number): number => Math.ceil(columns / 2);

/** Rows of `columns` numbers, rounded to the nearest, ties to even. Beyond 65504 float16 has only ±infinity: callers look. */
export function packHalves(values: Float32Array, columns: number, dtype: HalfDtype): Int32Array {
  const bits = dtype === 'bfloat16' ? toBf16(values) : toF16(values);
  if (columns % 2 === 0) return new Int32Array(bits.buffer);
  const rows = bits.length / columns;
  const padded = new Uint16Array(rows * (columns + 1));
  for (let r = 0; r < rows; r++) padded.set(bits.subarray(r * columns, (r + 1) * columns), r * (columns + 1));
  return new Int32Array(padded.buffer);
}

/** The numbers of packed rows, exactly. */
export function unpackHalves(packed: Int32Array, columns: number, dtype: HalfDtype): Float32Array {
  const bits = new Uint16Array(packed.buffer, packed.byteOffset, 2 * packed.length);
  const widen = dtype === 'bfloat16' ? fromBf16 : fromF16;
  if (columns % 2 === 0) return widen(bits);
  const rows = bits.length / (columns + 1);
  const values = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++)
    widen(
      bits.subarray(r * (columns + 1), (r + 1) * (columns + 1) - 1),
      values.subarray(r * columns, (r + 1) * columns),
    );
  return values;
}

/** The float32 matrix that packed rows mean. */
export function fromPacked(packed: Int32Array, { shape, dtype }: Half): tf.Tensor2D {
  return tf.tensor2d(unpackHalves(packed, shape[1], dtype), shape);
}

/** A 16-bit matrix of these numbers, rounded as `packHalves` does. */
export function halfMatrix(values: Float32Array, shape: [number, number], dtype: HalfDtype): tf.Tensor2D {
  const packed = packHalves(values, shape[1], dtype);
  return asHalf(tf.tensor2d(packed, [shape[0], packedColumns(shape[1])], 'int32'), { dtype, shape });
}
