import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertIndices, assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import { memoryOf } from './memory.js';
import * as raw from './raw.js';

/**
 * Rows of a matrix: y[n] = x[rows[n]]. Rows may repeat; their gradients add up.
 *
 * @param x [R, D] @param rows int32 [N], each in [0, R)
 * @returns [N, D], differentiable in x
 * @throws UsageError if the shapes or the index type do not fit; an index out of range is an error of the engine
 */
export function gatherRows(x: tf.Tensor2D, rows: tf.Tensor1D): tf.Tensor2D {
  assertShape(x, [null, null], 'gatherRows: x');
  assertIndices(rows, null, 'gatherRows: rows');
  const [count, width] = x.shape;
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      save([rows]);
      if (fusedKernels()) return raw.run<tf.Tensor2D>('MinillmGatherRows', [], [x, rows]);
      return native() ? raw.gather(x, rows) : copyRows(x, rows);
    },
    (dy, saved) => {
      const rows = saved[0] as tf.Tensor1D;
      if (fusedKernels())
        return [raw.run('MinillmGatherRowsGrad', [raw.attr.int('count', count)], [dy, rows])];
      if (native()) return [raw.segmentSum(dy, rows, count)];
      // TensorFlow.js' own gradient of gather is missing on wasm and very slow on cpu; scatterND adds duplicates up.
      return [tf.scatterND(tf.reshape(rows, [rows.size, 1]), dy, [count, width])];
    },
  );
}

/**
 * Embedding lookup: y[n] = table[ids[n]].
 *
 * @param table [V, D] @param ids int32 [N], each in [0, V)
 * @param padId a row that lookups do not train, as `padding_idx` of torch.nn.Embedding: no gradient flows into it
 * @returns [N, D], differentiable in the table
 * @throws UsageError if the shapes or the index type do not fit
 */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor1D, padId?: number): tf.Tensor2D {
  const y = gatherRows(table, ids);
  if (padId === undefined) return y;
  return differentiable<tf.Tensor2D>(
    [y],
    (save) => {
      save([ids]);
      return tf.reshape(y, y.shape);
    },
    (dy, [ids]) => [tf.mul(dy, tf.expandDims(tf.cast(tf.notEqual(ids!, padId), 'float32'), 1))],
  );
}

/** Copies whole rows: on wasm ten times as fast as its own gather, which also reads out of bounds without a word. */
function copyRows(x: tf.Tensor2D, rows: tf.Tensor1D): tf.Tensor2D {
  const [count, width] = x.shape;
  const source = memoryOf(x);
  const out = new Float32Array(rows.size * width);
  memoryOf(rows).forEach((row, n) => {
    if (!(row >= 0 && row < count)) throw new RangeError(`index ${row} of ${count} rows`);
    out.set(source.subarray(row * width, (row + 1) * width), n * width);
  });
  return tf.tensor2d(out, [rows.size, width]);
}
