import * as tf from '@tensorflow/tfjs-core';
import type { CudaBackend } from './backend.js';
import type { DeviceTensor } from './call.js';
import { drop, launchFlat, result, type TfjsKernel } from './tfjsKernel.js';
import { broadcastStrides, collapse, gathered } from './tfjsStrides.js';

/** Codes of `arithmetic` and `compared` in kernels/tfjs.cu. */
const ARITHMETIC = { Add: 0, Sub: 1, Multiply: 2, RealDiv: 3, Maximum: 4, Minimum: 5, Pow: 6 } as const;
const COMPARISON = {
  Equal: 0,
  NotEqual: 1,
  Greater: 2,
  GreaterEqual: 3,
  Less: 4,
  LessEqual: 5,
  LogicalAnd: 6,
} as const;

const OF_FLOATS: ReadonlySet<string> = new Set(['RealDiv', 'Pow']);
const KINDS = { float32: 'float', int32: 'int', bool: 'bool' } as const;

function arithmetic(
  backend: CudaBackend,
  name: keyof typeof ARITHMETIC,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
): tf.TensorInfo {
  const { dtype } = a;
  if (b.dtype !== dtype) throw new Error('two types');
  if (!(dtype === 'float32' || (dtype === 'int32' && !OF_FLOATS.has(name)))) {
    throw new Error(`not for ${dtype}`);
  }
  const y = result(backend, tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape), dtype);
  if (y.size > 0 && !(dtype === 'float32' && asMatrix(backend, ARITHMETIC[name], a, b, y))) {
    flat(backend, `tfjs_binary_${KINDS[dtype]}`, ARITHMETIC[name], [a, b], y);
  }
  return backend.adopt(y);
}

function comparison(
  backend: CudaBackend,
  name: keyof typeof COMPARISON,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
): tf.TensorInfo {
  if (b.dtype !== a.dtype) throw new Error('two types');
  const y = result(backend, tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape), 'bool');
  const kind = KINDS[a.dtype as keyof typeof KINDS];
  if (y.size > 0) flat(backend, `tfjs_compare_${kind}`, COMPARISON[name], [a, b], y);
  return backend.adopt(y);
}

/** A broadcast that comes to two dimensions, without copies: rows and columns as operands. */
function asMatrix(
  backend: CudaBackend,
  op: number,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  y: DeviceTensor,
): boolean {
  // What has the result's size, or is a number that need not be uploaded, goes the shorter way.
  const direct = (x: tf.TensorInfo): boolean =>
    tf.util.sizeFromShape(x.shape) === y.size || backend.number(x) !== undefined;
  if (direct(a) && direct(b)) return false;
  const from = broadcastStrides(a.shape, y.shape);
  const walk = collapse({ dims: [...y.shape], from, to: broadcastStrides(b.shape, y.shape) });
  if (walk.dims.length > 2) return false;
  const [columns = 1, aColumn = 0, bColumn = 0] = [walk.dims, walk.from, walk.to].map((list) => list.at(-1));
  const [aRow = 0, bRow = 0] = walk.dims.length === 2 ? [walk.from[0], walk.to[0]] : [];
  const operands = [backend.onDevice(a).address, backend.onDevice(b).address];
  const args = [op, ...operands, y.address, y.size, columns, aRow, aColumn, bRow, bColumn];
  launchFlat(backend, 'tfjs_binary_matrix', y.size, args);
  return true;
}

/** Operands of the result's shape or single numbers; others are first repeated to that shape. */
function flat(
  backend: CudaBackend,
  kernel: string,
  op: number,
  operands: readonly tf.TensorInfo[],
  y: DeviceTensor,
): void {
  const copies: number[] = [];
  const args = operands.flatMap((x) => {
    const number = backend.number(x);
    if (number !== undefined) return [0, number];
    const given = backend.onDevice(x);
    if (given.size === y.size) return [given.address, 0];
    const { address } = gathered(backend, given, y.shape, broadcastStrides(x.shape, y.shape));
    copies.push(address);
    return [address, 0];
  });
  launchFlat(backend, kernel, y.size, [op, ...args, y.address, y.size]);
  for (const address of copies) backend.device.free(address);
}

/** The sum of a list of tensors of one shape, from the first to the last. */
const addN: TfjsKernel = (backend, inputs) => {
  const [first, ...others] = Object.values(inputs);
  let sum = backend.alias(first!, first!.shape);
  for (const x of others) {
    const next = arithmetic(backend, 'Add', sum, x);
    drop(backend, sum);
    sum = next;
  }
  return sum;
};

const named = <N extends string>(
  codes: Record<N, number>,
  run: (backend: CudaBackend, name: N, a: tf.TensorInfo, b: tf.TensorInfo) => tf.TensorInfo,
): Record<string, TfjsKernel> =>
  Object.fromEntries(
    (Object.keys(codes) as N[]).map((name) => {
      const kernel: TfjsKernel = (backend, { a, b }) => run(backend, name, a!, b!);
      return [name, kernel];
    }),
  );

export const binary: Record<string, TfjsKernel> = {
  ...named(ARITHMETIC, arithmetic),
  ...named(COMPARISON, comparison),
  AddN: addN,
};
