import * as tf from '@tensorflow/tfjs-core';
import type { CudaBackend, DType } from './backend.js';
import { deviceType } from './backend.js';
import { bitsOf, drop, launchFlat, result, type TfjsKernel } from './tfjsKernel.js';

/** Codes of `applied` in kernels/tfjs.cu. */
const UNARY = {
  Neg: 0,
  Exp: 1,
  Log: 2,
  Sqrt: 3,
  Rsqrt: 4,
  Square: 5,
  Abs: 6,
  Sigmoid: 7,
  Tanh: 8,
  Erf: 9,
  Relu: 10,
  Step: 11,
  ClipByValue: 12,
} as const;

/** Those that make sense of int32 as they are. */
const OF_INTS: ReadonlySet<keyof typeof UNARY> = new Set(['Neg', 'Square', 'Abs', 'Relu', 'ClipByValue']);

const unary =
  (name: keyof typeof UNARY): TfjsKernel =>
  (backend, { x }, { alpha = 0, clipValueMin = alpha, clipValueMax = 0 }) => {
    const { address, shape, size, dtype } = backend.onDevice(x!);
    if (!(dtype === 'float32' || (dtype === 'int32' && OF_INTS.has(name)))) {
      throw new Error(`not for ${dtype}`);
    }
    const y = result(backend, shape, dtype);
    const numbers = [Number(clipValueMin), Number(clipValueMax)];
    if (dtype === 'int32') {
      const args = [UNARY[name], address, y.address, ...numbers.map(Math.trunc), size];
      launchFlat(backend, 'tfjs_unary_int', size, args);
    } else {
      launchFlat(backend, 'tfjs_unary_float', size, [UNARY[name], address, y.address, ...numbers, size]);
    }
    return backend.adopt(y);
  };

const logicalNot: TfjsKernel = (backend, { x }) => {
  const given = backend.onDevice(x!);
  if (given.dtype !== 'bool') throw new Error('for bool only');
  const y = result(backend, given.shape, 'bool');
  launchFlat(backend, 'tfjs_not', y.size, [given.address, y.address, y.size]);
  return backend.adopt(y);
};

/** A tensor of another type; of the same type another handle on it. */
export function cast(backend: CudaBackend, x: tf.TensorInfo, dtype: DType): tf.TensorInfo {
  if (x.dtype === dtype) return backend.alias(x, x.shape);
  const given = backend.onDevice(x);
  const y = result(backend, x.shape, dtype);
  const short = { float32: 'float', int32: 'int', bool: 'bool' } as const;
  const kernel = `tfjs_${short[given.dtype]}_to_${short[dtype]}`;
  launchFlat(backend, kernel, y.size, [given.address, y.address, y.size]);
  return backend.adopt(y);
}

/** A tensor of one number. */
export function filled(
  backend: CudaBackend,
  shape: readonly number[],
  value: number,
  dtype: DType,
): tf.TensorInfo {
  const y = result(backend, shape, dtype);
  if (dtype === 'bool') launchFlat(backend, 'tfjs_fill1', y.size, [y.address, Number(value !== 0), y.size]);
  else {
    const bits = dtype === 'float32' ? bitsOf(value) : Math.trunc(value);
    if (bits !== 0) launchFlat(backend, 'tfjs_fill4', y.size, [y.address, bits, y.size]);
    else if (y.size > 0) backend.device.zero(y.address, 4 * y.size);
  }
  return backend.adopt(y);
}

const fill: TfjsKernel = (backend, _, { shape, value, dtype }) => {
  const type = (dtype ?? tf.util.inferDtype(value as number)) as tf.DataType;
  return filled(backend, shape as number[], Number(value), deviceType(type));
};

/** Where `condition` the number of t, else that of e; all of one shape. */
const select: TfjsKernel = (backend, { condition, t, e }) => {
  const dtype = deviceType(tf.upcastType(t!.dtype, e!.dtype));
  if (condition!.dtype !== 'bool' || [condition!, e!].some((x) => String(x.shape) !== String(t!.shape))) {
    throw new Error('condition (bool) and both choices must have one shape');
  }
  const then = cast(backend, t!, dtype);
  const otherwise = cast(backend, e!, dtype);
  const y = result(backend, t!.shape, dtype);
  const from = [condition!, then, otherwise].map((x) => backend.onDevice(x).address);
  launchFlat(backend, dtype === 'bool' ? 'tfjs_select1' : 'tfjs_select4', y.size, [
    ...from,
    y.address,
    y.size,
  ]);
  drop(backend, then, otherwise);
  return backend.adopt(y);
};

export const elementwise: Record<string, TfjsKernel> = {
  ...Object.fromEntries(Object.keys(UNARY).map((name) => [name, unary(name as keyof typeof UNARY)])),
  LogicalNot: logicalNot,
  Cast: (backend, { x }, { dtype }) => cast(backend, x!, deviceType(dtype as tf.DataType)),
  Fill: fill,
  ZerosLike: (backend, { x }) => filled(backend, x!.shape, 0, deviceType(x!.dtype)),
  OnesLike: (backend, { x }) => filled(backend, x!.shape, 1, deviceType(x!.dtype)),
  Select: select,
};
