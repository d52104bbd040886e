import * as tf from '@tensorflow/tfjs-core';
import type { NativeBackend } from '../backend.js';

/**
 * Raw TensorFlow operations, by the names of TensorFlow's own registry; only with the native backend active.
 *
 * They reach kernels that TensorFlow.js does not expose and skip its shape bookkeeping.
 */

// TF_AttrType and TF_DataType of TensorFlow's C interface.
const ATTR_INT = 1;
const ATTR_BOOL = 3;
const ATTR_TYPE = 4;
const TYPE_NUMBER: Partial<Record<tf.DataType, number>> = { float32: 1, int32: 3 };

const type = (name: string, dtype: tf.DataType) => ({ name, type: ATTR_TYPE, value: TYPE_NUMBER[dtype] });
const bool = (name: string, value: boolean) => ({ name, type: ATTR_BOOL, value });
const int = (name: string, value: number) => ({ name, type: ATTR_INT, value });

function run<T extends tf.Tensor>(name: string, attrs: unknown[], inputs: tf.TensorInfo[]): T {
  return (tf.backend() as unknown as NativeBackend).executeSingleOutput(name, attrs, inputs) as T;
}

const FLOAT = [type('T', 'float32')];

/** Operations of float32 tensors without further attributes. */
export type PlainOp =
  | 'BiasAdd'
  | 'InplaceAdd'
  | 'InplaceUpdate'
  | 'LogSoftmax'
  | 'MulNoNan'
  | 'SigmoidGrad'
  | 'Softmax'
  | 'Sub';

export function plain<T extends tf.Tensor = tf.Tensor2D>(name: PlainOp, ...inputs: tf.Tensor[]): T {
  return run<T>(name, FLOAT, inputs);
}

/** `MatMul` of 2-D tensors. */
export function matMul(a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor2D {
  const attrs = [...FLOAT, bool('transpose_a', transposeA), bool('transpose_b', transposeB)];
  return run('MatMul', attrs, [a, b]);
}

/** `BatchMatMulV2`: for a transposed right-hand side faster than `MatMul`, even in 2-D. */
export function batchMatMul<T extends tf.Tensor>(a: T, b: T, adjointA = false, adjointB = false): T {
  return run('BatchMatMulV2', [...FLOAT, bool('adj_x', adjointA), bool('adj_y', adjointB)], [a, b]);
}

/** `GatherV2` along axis 0. */
export function gather<T extends tf.Tensor>(x: T, indices: tf.Tensor): T {
  const attrs = [
    type('Tparams', x.dtype),
    type('Tindices', 'int32'),
    type('Taxis', 'int32'),
    int('batch_dims', 0),
  ];
  return run('GatherV2', attrs, [x, indices, tf.scalar(0, 'int32')]);
}

/** `UnsortedSegmentSum`: row i of the result is the sum of the rows r of x with segments[r] = i. */
export function segmentSum(x: tf.Tensor2D, segments: tf.Tensor1D, count: number): tf.Tensor2D {
  const attrs = [...FLOAT, type('Tindices', 'int32'), type('Tnumsegments', 'int32')];
  return run('UnsortedSegmentSum', attrs, [x, segments, tf.scalar(count, 'int32')]);
}
