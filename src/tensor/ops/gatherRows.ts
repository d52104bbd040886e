import * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import { assertIndices, assertShape } from '../shape.js';
import { differentiable } from './custom.js';

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
  const count = x.shape[0];
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      save([rows]);
      return kernels().gatherRows(x, rows);
    },
    (dy, saved) => [kernels().gatherRowsGrad(dy, saved[0] as tf.Tensor1D, count)],
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
