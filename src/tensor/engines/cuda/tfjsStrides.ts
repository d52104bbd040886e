import * as tf from '@tensorflow/tfjs-core';
import type { CudaBackend } from './backend.js';
import { blocksOf, type DeviceTensor } from './call.js';
import { launchFlat, result } from './tfjsKernel.js';

/** A walk over numbers in two places: how far a step along each dimension goes in either. */
export interface Walk {
  dims: number[];
  from: number[];
  to: number[];
}

const MOST_DIMS = 6;
const TILE = 32;
const TILE_ROWS = 8;

/** How far apart neighbours along each dimension are. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) strides[d] = strides[d + 1]! * shape[d + 1]!;
  return strides;
}

/** The strides of a tensor that is repeated to a greater shape: 0 where its dimension is 1. */
export function broadcastStrides(shape: readonly number[], to: readonly number[]): number[] {
  const strides = stridesOf(shape);
  const missing = to.length - shape.length;
  return to.map((_, d) => (d < missing || shape[d - missing] === 1 ? 0 : strides[d - missing]!));
}

/** The same walk with as few dimensions as can be: those of 1 left out, those that follow each other in both places joined. */
export function collapse({ dims, from, to }: Walk): Walk {
  const walk: Walk = { dims: [], from: [], to: [] };
  dims.forEach((dim, d) => {
    if (dim === 1) return;
    const last = walk.dims.length - 1;
    if (last >= 0 && walk.from[last] === from[d]! * dim && walk.to[last] === to[d]! * dim) {
      walk.dims[last]! *= dim;
      walk.from[last] = from[d]!;
      walk.to[last] = to[d]!;
    } else {
      walk.dims.push(dim);
      walk.from.push(from[d]!);
      walk.to.push(to[d]!);
    }
  });
  return walk;
}

/** Queues y[... + yAt] = x[... + xAt] along a walk; a plain copy or a tiled transposition where it is one. */
export function copyAlong(
  backend: CudaBackend,
  x: DeviceTensor,
  y: DeviceTensor,
  along: Walk,
  { xAt = 0, yAt = 0 } = {},
): void {
  const size = tf.util.sizeFromShape(along.dims);
  if (size === 0) return;
  const bytes = x.dtype === 'bool' ? 1 : 4;
  const from = x.address + xAt * bytes;
  const to = y.address + yAt * bytes;
  const walk = collapse(along);
  if (walk.dims.length === 0 || (walk.dims.length === 1 && walk.from[0] === 1 && walk.to[0] === 1)) {
    backend.device.copy(to, from, size * bytes);
    return;
  }
  const turned = bytes === 4 ? transposition(walk) : undefined;
  if (turned) {
    const tiles = blocksOf(turned.rows, TILE) * blocksOf(turned.columns, TILE) * turned.batch;
    const args = [from, to, turned.rows, turned.columns];
    backend.device.launch('tfjs_transpose4', tiles, [TILE, TILE_ROWS], args);
    return;
  }
  const unused = MOST_DIMS - walk.dims.length;
  if (unused < 0) throw new Error(`more than ${MOST_DIMS} dimensions that do not follow each other`);
  const pad = (list: number[], value: number): number[] => [
    ...new Array<number>(unused).fill(value),
    ...list,
  ];
  const args = [from, to, size, ...pad(walk.dims, 1), ...pad(walk.from, 0), ...pad(walk.to, 0)];
  launchFlat(backend, `tfjs_copy${bytes}`, size, args);
}

/** Whether a walk transposes whole matrices, one or a batch of them that follow each other. */
function transposition({
  dims,
  from,
  to,
}: Walk): { batch: number; rows: number; columns: number } | undefined {
  const [columns, rows] = dims.slice(-2);
  if (columns === undefined || rows === undefined || dims.length > 3) return undefined;
  const last = dims.length - 1;
  const isTurned =
    from[last] === columns && from[last - 1] === 1 && to[last] === 1 && to[last - 1] === rows && rows > 1;
  const follows = dims.length < 3 || (from[0] === rows * columns && to[0] === rows * columns);
  return isTurned && follows ? { batch: dims.length === 3 ? dims[0]! : 1, rows, columns } : undefined;
}

/** A tensor of its own with the numbers that lie along a walk through x. */
export function gathered(
  backend: CudaBackend,
  x: DeviceTensor,
  shape: readonly number[],
  from: number[],
  xAt = 0,
): DeviceTensor {
  const y = result(backend, shape, x.dtype);
  copyAlong(backend, x, y, { dims: [...shape], from, to: stridesOf(shape) }, { xAt });
  return y;
}
