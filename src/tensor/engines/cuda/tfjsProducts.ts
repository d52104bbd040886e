import * as tf from '@tensorflow/tfjs-core';
import { result, type TfjsKernel } from './tfjsKernel.js';
import { broadcastStrides, gathered } from './tfjsStrides.js';

/** Products of matrices, alone or in batches; a single matrix serves a whole batch. */
export const batchMatMul: TfjsKernel = (backend, { a, b }, { transposeA, transposeB }) => {
  if (a!.dtype !== 'float32' || b!.dtype !== 'float32') throw new Error('for float32 only');
  const sides = (x: tf.TensorInfo, turned: unknown): [number, number] => {
    const [rows, columns] = x.shape.slice(-2) as [number, number];
    return turned ? [columns, rows] : [rows, columns];
  };
  const [rows, inner] = sides(a!, transposeA);
  const [innerOfB, columns] = sides(b!, transposeB);
  if (inner !== innerOfB) throw new Error(`sums of ${inner} and ${innerOfB} numbers do not fit`);
  const batches = tf.broadcast_util.assertAndGetBroadcastShape(a!.shape.slice(0, -2), b!.shape.slice(0, -2));
  const batch = tf.util.sizeFromShape(batches);
  const y = result(backend, [...batches, rows, columns], 'float32');
  if (y.size === 0) return backend.adopt(y);
  if (inner === 0) {
    backend.device.zero(y.address, 4 * y.size);
    return backend.adopt(y);
  }
  const copies: number[] = [];
  const operand = (info: tf.TensorInfo, numbers: number): { address: number; stride: number } => {
    const x = backend.onDevice(info);
    if (x.size === numbers) return { address: x.address, stride: 0 };
    if (x.size === numbers * batch) return { address: x.address, stride: numbers };
    const shape = [...batches, ...info.shape.slice(-2)];
    const { address } = gathered(backend, x, shape, broadcastStrides(info.shape, shape));
    copies.push(address);
    return { address, stride: numbers };
  };
  const left = operand(a!, rows * inner);
  const right = operand(b!, inner * columns);
  backend.device.matMul({
    a: left.address,
    b: right.address,
    y: y.address,
    rows,
    columns,
    inner,
    transposeA: Boolean(transposeA),
    transposeB: Boolean(transposeB),
    ...(batch > 1 && {
      batch,
      strideA: left.stride,
      strideB: right.stride,
      strideY: rows * columns,
    }),
  });
  for (const address of copies) backend.device.free(address);
  return backend.adopt(y);
};
