import * as tf from '@tensorflow/tfjs-core';
import { type CudaBackend, deviceType } from './backend.js';
import type { DeviceTensor } from './call.js';
import { cast } from './tfjsElementwise.js';
import { drop, launchFlat, result, type TfjsKernel, THREADS } from './tfjsKernel.js';
import { gathered, stridesOf } from './tfjsStrides.js';

/** Codes of `combine` in kernels/tfjsReduce.cu. */
const SUM = 0;
const MAX = 1;
const MIN = 2;

/** Rows shorter than this are summed by one thread each. */
const SHORT = 128;
/** Numbers that a block or a thread takes at least before the work is divided, and how far it is divided. */
const BLOCK_NUMBERS = 4096;
const THREAD_NUMBERS = 32;
const BLOCKS = 1024;
const THREADS_WANTED = 65536;

/** A tensor as [outer, length, inner], to be reduced along its middle. */
interface Middle {
  x: DeviceTensor;
  outer: number;
  length: number;
  inner: number;
  /** Frees what was copied for it. */
  done(): void;
}

type Axes = number | number[];

/** Axes that lie side by side stay where they are; others are brought to the end. */
function middleOf(backend: CudaBackend, x: DeviceTensor, axes: readonly number[]): Middle {
  const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
  const sorted = [...axes].sort((a, b) => a - b);
  const [first = x.shape.length] = sorted;
  const last = sorted.at(-1) ?? x.shape.length - 1;
  if (last - first + 1 === sorted.length || sorted.length === 0) {
    const parts = [x.shape.slice(0, first), x.shape.slice(first, last + 1), x.shape.slice(last + 1)];
    const [outer = 1, length = 1, inner = 1] = parts.map(product);
    return { x, outer, length, inner, done() {} };
  }
  const kept = x.shape.map((_, d) => d).filter((d) => !sorted.includes(d));
  const order = [...kept, ...sorted];
  const strides = stridesOf(x.shape);
  const shape = order.map((d) => x.shape[d]!);
  const copy = gathered(
    backend,
    x,
    shape,
    order.map((d) => strides[d]!),
  );
  const length = product(sorted.map((d) => x.shape[d]!));
  const outer = product(kept.map((d) => x.shape[d]!));
  return { x: copy, outer, length, inner: 1, done: () => copy.size > 0 && backend.device.free(copy.address) };
}

function reduce(
  backend: CudaBackend,
  op: number,
  info: tf.TensorInfo,
  axis: Axes,
  keepDims: boolean,
  mean = false,
): tf.TensorInfo {
  const axes = tf.util.parseAxisParam(axis, info.shape);
  const dtype = deviceType(info.dtype);
  const given = cast(backend, info, mean ? 'float32' : dtype === 'bool' ? 'int32' : dtype);
  const { x, outer, length, inner, done } = middleOf(backend, backend.onDevice(given), axes);
  const keptShape = info.shape.map((dim, d) => (axes.includes(d) ? 1 : dim));
  const y = result(backend, keepDims ? keptShape : keptShape.filter((_, d) => !axes.includes(d)), x.dtype);
  if (y.size > 0) {
    const kind = x.dtype === 'float32' ? 'float' : 'int';
    const rows = inner === 1 && length >= SHORT;
    const [numbers, most] = rows
      ? [BLOCK_NUMBERS, Math.ceil(BLOCKS / outer)]
      : [THREAD_NUMBERS, Math.ceil(THREADS_WANTED / y.size)];
    const chunks = Math.max(1, Math.min(Math.ceil(length / numbers), most));
    const partial = backend.device.alloc(8 * y.size * chunks);
    if (rows) {
      const args = [op, x.address, partial, length, chunks];
      backend.device.launch(`tfjs_reduce_rows_${kind}`, outer * chunks, THREADS, args);
    } else {
      const args = [op, x.address, partial, outer, length, inner, chunks];
      launchFlat(backend, `tfjs_reduce_serial_${kind}`, y.size * chunks, args);
    }
    const args = [op, partial, y.address, y.size, chunks, inner];
    if (kind === 'float') args.push(mean ? Math.max(1, length) : 1);
    launchFlat(backend, `tfjs_reduce_finish_${kind}`, y.size, args);
    backend.device.free(partial);
  }
  done();
  drop(backend, given);
  return backend.adopt(y);
}

/** The first place of the greatest number along one axis. */
const argMax: TfjsKernel = (backend, { x }, { axis }) => {
  const [along] = tf.util.parseAxisParam(axis as Axes, x!.shape) as [number];
  const given = cast(backend, x!, x!.dtype === 'bool' ? 'int32' : deviceType(x!.dtype));
  const onDevice = backend.onDevice(given);
  const last = x!.shape.length - 1;
  const order = [...x!.shape.keys()].filter((d) => d !== along).concat(along);
  const strides = stridesOf(x!.shape);
  const shape = order.map((d) => x!.shape[d]!);
  const copied = along !== last && onDevice.size > 0;
  const from = order.map((d) => strides[d]!);
  const rows = copied ? gathered(backend, onDevice, shape, from) : onDevice;
  const y = result(backend, shape.slice(0, -1), 'int32');
  if (y.size > 0) {
    const args = [rows.address, y.address, shape.at(-1)!];
    backend.device.launch(`tfjs_argmax_${rows.dtype === 'int32' ? 'int' : 'float'}`, y.size, THREADS, args);
  }
  if (copied) backend.device.free(rows.address);
  drop(backend, given);
  return backend.adopt(y);
};

const softmax: TfjsKernel = (backend, { logits }, { dim }) => {
  const last = logits!.shape.length - 1;
  if (dim !== -1 && dim !== last) throw new Error('along the last axis only');
  const given = cast(backend, logits!, 'float32');
  const x = backend.onDevice(given);
  const y = result(backend, x.shape, 'float32');
  if (y.size > 0) {
    const length = x.shape[last] ?? 1;
    backend.device.launch('tfjs_softmax', y.size / length, THREADS, [x.address, y.address, length]);
  }
  drop(backend, given);
  return backend.adopt(y);
};

export const reductions: Record<string, TfjsKernel> = {
  Sum: (backend, { x }, { axis, keepDims }) => reduce(backend, SUM, x!, axis as Axes, Boolean(keepDims)),
  Mean: (backend, { x }, { axis, keepDims }) =>
    reduce(backend, SUM, x!, axis as Axes, Boolean(keepDims), true),
  Max: (backend, { x }, { reductionIndices, keepDims }) =>
    reduce(backend, MAX, x!, reductionIndices as Axes, Boolean(keepDims)),
  Min: (backend, { x }, { axis, keepDims }) => reduce(backend, MIN, x!, axis as Axes, Boolean(keepDims)),
  ArgMax: argMax,
  Softmax: softmax,
};
