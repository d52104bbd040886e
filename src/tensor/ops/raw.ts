import * as tf from '@tensorflow/tfjs-core';
import type { NativeBackend } from '../backend.js';

/**
 * Raw TensorFlow operations, by the names of TensorFlow's own registry; only with the native backend active.
 *
 * They reach kernels that TensorFlow.js does not expose and skip its shape bookkeeping.
 */

// TF_AttrType and TF_DataType of TensorFlow's C interface.
const TYPE_NUMBER: Partial<Record<tf.DataType, number>> = { float32: 1, int32: 3 };

/** Attributes of an operation, as the binding wants them. */
export const attr = {
  string: (name: string, value: string) => ({ name, type: 0, value }),
  int: (name: string, value: number) => ({ name, type: 1, value }),
  /** Our kernels have no bool: 1 for anything that is there and not false. */
  flag: (name: string, value: unknown) => ({ name, type: 1, value: value ? 1 : 0 }),
  float: (name: string, value: number) => ({ name, type: 2, value }),
  bool: (name: string, value: boolean) => ({ name, type: 3, value }),
  type: (name: string, dtype: tf.DataType) => ({ name, type: 4, value: TYPE_NUMBER[dtype] }),
  shape: (name: string, value: number[]) => ({ name, type: 5, value }),
};
export type Attr = ReturnType<(typeof attr)[keyof typeof attr]>;

const backend = () => tf.backend() as unknown as NativeBackend;

/** Any operation with one result. */
export function run<T extends tf.Tensor>(name: string, attrs: Attr[], inputs: tf.TensorInfo[]): T {
  return backend().executeSingleOutput(name, attrs, inputs) as T;
}

/** Any operation with several results. */
export function runAll(name: string, attrs: Attr[], inputs: tf.TensorInfo[], results: number): tf.Tensor[] {
  return backend().executeMultipleOutputs(name, attrs, inputs, results);
}

/** Any operation without a result: what it does is its effect on a resource. */
export function act(name: string, attrs: Attr[], inputs: tf.TensorInfo[]): void {
  backend().executeMultipleOutputs(name, attrs, inputs, 0);
}

const FLOAT = [attr.type('T', 'float32')];

/** Operations of float32 tensors without further attributes. */
export type PlainOp =
  | 'BiasAdd'
  | 'InplaceAdd'
  | 'InplaceUpdate'
  | 'L2Loss'
  | 'LogSoftmax'
  | 'MulNoNan'
  | 'SigmoidGrad'
  | 'Softmax';

/** One of the operations above. */
export function plain<T extends tf.Tensor = tf.Tensor2D>(name: PlainOp, ...inputs: tf.Tensor[]): T {
  return run<T>(name, FLOAT, inputs);
}

/** `MatMul` of 2-D tensors. */
export function matMul(a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor2D {
  const attrs = [...FLOAT, attr.bool('transpose_a', transposeA), attr.bool('transpose_b', transposeB)];
  return run('MatMul', attrs, [a, b]);
}

/** `BatchMatMulV2`: for a transposed right-hand side faster than `MatMul`, even in 2-D. */
export function batchMatMul<T extends tf.Tensor>(a: T, b: T, adjointA = false, adjointB = false): T {
  return run('BatchMatMulV2', [...FLOAT, attr.bool('adj_x', adjointA), attr.bool('adj_y', adjointB)], [a, b]);
}

/** `GatherV2` along axis 0. */
export function gather<T extends tf.Tensor>(x: T, indices: tf.Tensor): T {
  const attrs = [
    attr.type('Tparams', x.dtype),
    attr.type('Tindices', 'int32'),
    attr.type('Taxis', 'int32'),
    attr.int('batch_dims', 0),
  ];
  return run('GatherV2', attrs, [x, indices, tf.scalar(0, 'int32')]);
}

/** `UnsortedSegmentSum`: row i of the result is the sum of the rows r of x with segments[r] = i. */
export function segmentSum(x: tf.Tensor2D, segments: tf.Tensor1D, count: number): tf.Tensor2D {
  const attrs = [...FLOAT, attr.type('Tindices', 'int32'), attr.type('Tnumsegments', 'int32')];
  return run('UnsortedSegmentSum', attrs, [x, segments, tf.scalar(count, 'int32')]);
}

/** `Mean` over axis 1, kept with size 1. */
export function meanOfRow(x: tf.Tensor2D): tf.Tensor2D {
  const attrs = [...FLOAT, attr.bool('keep_dims', true), attr.type('Tidx', 'int32')];
  return run('Mean', attrs, [x, tf.scalar(1, 'int32')]);
}
