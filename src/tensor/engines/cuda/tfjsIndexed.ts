import * as tf from '@tensorflow/tfjs-core';
import { bytesOf, type CudaBackend, deviceType } from './backend.js';
import type { DeviceTensor } from './call.js';
import { bitsOf, launchFlat, result, type TfjsKernel } from './tfjsKernel.js';

const MOST_DIMS = 6;

/** An index that x does not have gives zeros, as TensorFlow does on a card. */
const gather: TfjsKernel = (backend, { x, indices }, { axis, batchDims }) => {
  if (indices!.dtype !== 'int32') throw new Error('indices must be int32');
  const [along] = tf.util.parseAxisParam(axis as number, x!.shape) as [number];
  const info = tf.backend_util.segment_util.collectGatherOpShapeInfo(
    x as tf.Tensor,
    indices as tf.Tensor,
    along,
    (batchDims ?? 0) as number,
  );
  const from = backend.onDevice(x!);
  const at = backend.onDevice(indices!);
  const y = result(backend, info.outputShape, from.dtype);
  if (y.size === 0) return backend.adopt(y);
  const count = at.size / info.batchSize;
  const args = [from.address, at.address, y.address, y.size, info.outerSize, info.dimSize, count];
  launchFlat(backend, `tfjs_gather${bytesOf(from.dtype)}`, y.size, [...args, info.sliceSize]);
  return backend.adopt(y);
};

/** A new last dimension that is `onValue` at the index. */
const oneHot: TfjsKernel = (backend, { indices }, { depth, onValue, offValue, dtype }) => {
  const at = backend.onDevice(indices!);
  if (at.dtype !== 'int32') throw new Error('indices must be int32');
  const type = deviceType((dtype ?? 'int32') as tf.DataType);
  if (type === 'bool') throw new Error('not for bool');
  const bits = [onValue, offValue].map((x) => (type === 'float32' ? bitsOf(Number(x)) : Number(x)));
  const y = result(backend, [...at.shape, depth as number], type);
  launchFlat(backend, 'tfjs_one_hot', y.size, [at.address, y.address, y.size, depth as number, ...bits]);
  return backend.adopt(y);
};

/**
 * A tensor of zeros with the updates added, those to one place in their order.
 *
 * @param indices [count, depth], each row a place in the first `depth` dimensions @param updates count · slice numbers
 */
function scatter(
  backend: CudaBackend,
  indices: DeviceTensor,
  updates: DeviceTensor,
  { count, depth, shape }: { count: number; depth: number; shape: readonly number[] },
): tf.TensorInfo {
  if (updates.dtype === 'bool' || indices.dtype !== 'int32') throw new Error('numbers at int32 indices only');
  if (depth > MOST_DIMS) throw new Error(`indices of more than ${MOST_DIMS} dimensions`);
  const y = result(backend, shape, updates.dtype);
  if (y.size > 0) backend.device.zero(y.address, 4 * y.size);
  if (updates.size === 0 || y.size === 0) return backend.adopt(y);
  const bytes = 4 * count;
  const places = backend.device.alloc(3 * bytes);
  const chains = [places + bytes, places + 2 * bytes];
  const dims = Array.from({ length: MOST_DIMS }, (_, d) => (d < depth ? shape[d]! : 1));
  launchFlat(backend, 'tfjs_scatter_places', count, [indices.address, places, count, depth, ...dims]);
  launchFlat(backend, 'tfjs_scatter_chains', count, [places, ...chains, count]);
  const kernel = updates.dtype === 'float32' ? 'tfjs_scatter_float' : 'tfjs_scatter_int';
  const args = [updates.address, places, ...chains, y.address, count, updates.size / count];
  launchFlat(backend, kernel, updates.size, args);
  backend.device.free(places);
  return backend.adopt(y);
}

const scatterNd: TfjsKernel = (backend, { indices, updates }, { shape }) => {
  const depth = indices!.shape.length < 2 ? 1 : indices!.shape.at(-1)!;
  const at = backend.onDevice(indices!);
  const sizes = { count: at.size / depth, depth, shape: shape as number[] };
  return scatter(backend, at, backend.onDevice(updates!), sizes);
};

/** Rows of equal id added up. The gradient of a gather. */
const segmentSum: TfjsKernel = (backend, { x, segmentIds }, { numSegments }) => {
  const ids = backend.onDevice(segmentIds!);
  const shape = [numSegments as number, ...x!.shape.slice(1)];
  return scatter(backend, ids, backend.onDevice(x!), { count: ids.size, depth: 1, shape });
};

export const indexed: Record<string, TfjsKernel> = {
  GatherV2: gather,
  OneHot: oneHot,
  ScatterNd: scatterNd,
  UnsortedSegmentSum: segmentSum,
};
