import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { asHalf, packedColumns, packHalves, unpackHalves } from '../tensor/halves.js';
import { writeRows } from '../tensor/ops/index.js';
import type { ParameterSpec } from './config.js';
import type { ModelDtype } from './dtypes.js';
import type { Weights } from './weights.js';

/** From here on a number is nearer to infinity than to the largest float16 (IEEE 754-2019, 4.3.1). */
const BEYOND_FLOAT16 = 65520;

/**
 * Room for the part of a tensor that is on its way from the file to the backend: a thirtieth of the model, so that loading
 * needs little more than the model itself, but 4 MiB at least and a row of the widest tensor.
 */
export function pieceFor(
  specs: Readonly<Record<string, ParameterSpec>>,
  dtype: ModelDtype = 'float32',
): Float32Array<ArrayBuffer> {
  const matrices = Object.values(specs).map(matrixOf);
  const total = matrices.reduce((sum, [rows, width]) => sum + rows * width, 0);
  const largest = Math.max(...matrices.map(([rows, width]) => rows * width));
  const widest = Math.max(...matrices.map(([, width]) => width));
  return new Float32Array(
    Math.min(largest, Math.max(1 << 20, Math.ceil(total / (dtype === 'float32' ? 30 : 60)), widest)),
  );
}

/**
 * Reads a tensor from its file into the layout of `spec`, a piece of rows at a time: nowhere is there a second copy of the
 * whole. The caller owns the result, which no tidy disposes.
 *
 * @param stored its name in the file @param piece scratch, see `pieceFor`
 * @param dtype what values are rounded to, to the nearest, ties to even; a matrix is then kept so (tensor/halves.ts), a vector as
 *   float32
 * @throws UsageError if a value is not finite or too large for float16, or as `SafetensorsFile.read`
 */
export async function loadTensor(
  weights: Weights,
  stored: string,
  spec: ParameterSpec,
  piece: Float32Array<ArrayBuffer>,
  dtype: ModelDtype = 'float32',
): Promise<tf.Tensor> {
  const file = weights.file(stored);
  const [rows, width] = matrixOf(spec);
  const step = Math.floor(piece.length / width);
  // By the kernel, which leaves no array on the host as `tf.zeros` does.
  const half = dtype !== 'float32' && spec.shape.length === 2 ? dtype : undefined;
  const target = tf.keep(
    half
      ? tf.fill<tf.Rank.R2>([rows, packedColumns(width)], 0, 'int32')
      : tf.fill<tf.Rank.R2>([rows, width], 0),
  );
  try {
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      const part = piece.subarray(0, count * width);
      if (spec.transposed) await file.readColumns(stored, first, part);
      else await file.readRows(stored, first, part);
      checkValues(part, dtype, (i) => {
        const [row, column] = [first + Math.floor(i / width), i % width];
        return `${weights.where}: tensor ${JSON.stringify(stored)} holds ${part[i]} at element ${spec.transposed ? column * rows + row : row * width + column}`;
      });
      tf.tidy(() => {
        const which = Int32Array.from({ length: count }, (_, i) => first + i);
        writeRows(target, which, pieceTensor(part, [count, width], dtype, half !== undefined));
      });
    }
    if (half) return asHalf(target, { dtype: half, shape: [rows, width] });
    return spec.shape.length === 2 ? target : alias(target, spec.shape);
  } catch (error) {
    target.dispose();
    throw error;
  }
}

/** In memory as a matrix; a vector is one row. */
function matrixOf({ shape }: ParameterSpec): [rows: number, width: number] {
  return shape.length === 1 ? [1, shape[0]!] : (shape as [number, number]);
}

/** The same memory in another shape. */
function alias(matrix: tf.Tensor2D, shape: number[]): tf.Tensor {
  const result = tf.keep(tf.reshape(matrix, shape));
  matrix.dispose();
  return result;
}

/** Rows on their way, as they are kept. */
function pieceTensor(
  part: Float32Array,
  [count, width]: [number, number],
  dtype: ModelDtype,
  packed: boolean,
): tf.Tensor2D {
  if (dtype === 'float32') return tf.tensor2d(part, [count, width]);
  const halves = packHalves(part, width, dtype);
  if (packed) return tf.tensor2d(halves, [count, packedColumns(width)], 'int32');
  return tf.tensor2d(unpackHalves(halves, width, dtype), [count, width]);
}

function checkValues(values: Float32Array, dtype: ModelDtype, line: (i: number) => string): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) throw new UsageError(line(i));
    if (dtype === 'float16' && Math.abs(values[i]!) >= BEYOND_FLOAT16)
      throw new UsageError(`${line(i)}, beyond the range of float16; load it as bfloat16 or float32`);
  }
}
