import * as tf from '@tensorflow/tfjs-core';
import { deviceType } from './backend.js';
import { filled } from './tfjsElementwise.js';
import { result, type TfjsKernel } from './tfjsKernel.js';
import { copyAlong, gathered, stridesOf } from './tfjsStrides.js';

const reshape: TfjsKernel = (backend, { x }, { shape }) => {
  const size = tf.util.sizeFromShape(x!.shape);
  const to = tf.util.inferFromImplicitShape(shape as number[], size);
  if (tf.util.sizeFromShape(to) !== size) throw new Error(`${size} numbers are not of shape [${to}]`);
  return backend.alias(x!, to);
};

const expandDims: TfjsKernel = (backend, { input }, { dim }) => {
  const at = dim as number;
  const shape = [...input!.shape];
  shape.splice(at < 0 ? shape.length + 1 + at : at, 0, 1);
  return backend.alias(input!, shape);
};

const transpose: TfjsKernel = (backend, { x }, { perm }) => {
  const order = perm as number[];
  const strides = stridesOf(x!.shape);
  const shape = order.map((d) => x!.shape[d]!);
  const from = order.map((d) => strides[d]!);
  return backend.adopt(gathered(backend, backend.onDevice(x!), shape, from));
};

/** How far the numbers of a place are from the first. */
const offsetOf = (place: readonly number[], strides: readonly number[]): number =>
  place.reduce((sum, index, d) => sum + index * strides[d]!, 0);

const slice: TfjsKernel = (backend, { x }, { begin, size }) => {
  const parsed = tf.slice_util.parseSliceParams(x!, begin as number[], size as number[]);
  const [at, shape] = parsed as [number[], number[]];
  tf.slice_util.assertParamsValid(x!, at, shape);
  const strides = stridesOf(x!.shape);
  return backend.adopt(gathered(backend, backend.onDevice(x!), shape, strides, offsetOf(at, strides)));
};

const split: TfjsKernel = (backend, { x }, { numOrSizeSplits, axis }) => {
  const [along] = tf.util.parseAxisParam(axis as number, x!.shape) as [number];
  const widths = tf.backend_util.prepareSplitSize(
    x as tf.Tensor,
    numOrSizeSplits as number | number[],
    along,
  );
  const given = backend.onDevice(x!);
  const strides = stridesOf(x!.shape);
  let start = 0;
  return widths.map((width) => {
    const shape = x!.shape.with(along, width);
    const part = gathered(backend, given, shape, strides, start * strides[along]!);
    start += width;
    return backend.adopt(part);
  });
};

const concat: TfjsKernel = (backend, inputs, { axis }) => {
  const parts = Object.values(inputs);
  const [along] = tf.util.parseAxisParam(axis as number, parts[0]!.shape) as [number];
  const shapes = parts.map((part) => part.shape);
  tf.backend_util.assertParamsConsistent(shapes, along);
  const dtype = deviceType(parts[0]!.dtype);
  if (parts.some((part) => part.dtype !== dtype)) throw new Error('two types');
  const y = result(backend, tf.backend_util.computeOutShape(shapes, along), dtype);
  const to = stridesOf(y.shape);
  let start = 0;
  for (const part of parts) {
    const walk = { dims: part.shape, from: stridesOf(part.shape), to };
    copyAlong(backend, backend.onDevice(part), y, walk, { yAt: start * to[along]! });
    start += part.shape[along]!;
  }
  return backend.adopt(y);
};

const pack: TfjsKernel = (backend, inputs, { axis }) => {
  const parts = Object.values(inputs);
  const { shape } = parts[0]!;
  const dtype = deviceType(parts[0]!.dtype);
  if (parts.some((part) => part.dtype !== dtype || String(part.shape) !== String(shape))) {
    throw new Error('one shape and one type expected');
  }
  const along = (axis as number) < 0 ? shape.length + 1 + (axis as number) : (axis as number);
  const y = result(backend, shape.toSpliced(along, 0, parts.length), dtype);
  const strides = stridesOf(y.shape);
  const walk = { dims: shape, from: stridesOf(shape), to: strides.toSpliced(along, 1) };
  parts.forEach((part, i) => {
    copyAlong(backend, backend.onDevice(part), y, walk, { yAt: i * strides[along]! });
  });
  return backend.adopt(y);
};

const unpack: TfjsKernel = (backend, { value }, { axis }) => {
  const [along] = tf.util.parseAxisParam(axis as number, value!.shape) as [number];
  const given = backend.onDevice(value!);
  const strides = stridesOf(value!.shape);
  const shape = value!.shape.toSpliced(along, 1);
  const from = strides.toSpliced(along, 1);
  return Array.from({ length: value!.shape[along]! }, (_, i) =>
    backend.adopt(gathered(backend, given, shape, from, i * strides[along]!)),
  );
};

const pad: TfjsKernel = (backend, { x }, { paddings, constantValue }) => {
  const sides = paddings as [number, number][];
  const shape = x!.shape.map((dim, d) => dim + sides[d]![0] + sides[d]![1]);
  const y = filled(backend, shape, Number(constantValue), deviceType(x!.dtype));
  const to = stridesOf(shape);
  const yAt = offsetOf(
    sides.map(([before]) => before),
    to,
  );
  const walk = { dims: x!.shape, from: stridesOf(x!.shape), to };
  copyAlong(backend, backend.onDevice(x!), backend.onDevice(y), walk, { yAt });
  return y;
};

/** Repetition is a walk that stands still: [reps0, dim0, reps1, dim1, ...], no step along the repetitions. */
const tile: TfjsKernel = (backend, { x }, { reps }) => {
  const times = reps as number[];
  const y = result(
    backend,
    x!.shape.map((dim, d) => dim * times[d]!),
    deviceType(x!.dtype),
  );
  const steps = stridesOf(x!.shape);
  const strides = stridesOf(y.shape);
  const dims = x!.shape.flatMap((dim, d) => [times[d]!, dim]);
  const from = steps.flatMap((step) => [0, step]);
  const to = strides.flatMap((stride, d) => [stride * x!.shape[d]!, stride]);
  copyAlong(backend, backend.onDevice(x!), y, { dims, from, to });
  return backend.adopt(y);
};

export const moves: Record<string, TfjsKernel> = {
  Identity: (backend, { x }) => backend.alias(x!, x!.shape),
  Reshape: reshape,
  ExpandDims: expandDims,
  Transpose: transpose,
  Slice: slice,
  SplitV: split,
  Concat: concat,
  Pack: pack,
  Unpack: unpack,
  PadV2: pad,
  Tile: tile,
};
