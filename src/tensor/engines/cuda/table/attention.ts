import { UsageError } from '../../../../errors.js';
import { blocksOf, type Call, type CudaKernel, columnsOf, type DeviceTensor, rowsOf } from '../call.js';

const TILE = 32;
const THREADS = 256;
const ROWS = 4;

/** The kernels that are compiled, by the widest head that they take. */
const WIDTHS = [32, 64, 128, 256];

/** The suffix of the kernels for heads of this width. @throws UsageError where there are none */
export function headKernel(width: number): number {
  const found = WIDTHS.find((most) => width <= most);
  if (!found) throw new UsageError(`heads of ${width} columns on the cuda engine: at most 256 are supported`);
  return found;
}

interface Parts {
  q: number;
  k: number;
  v: number;
  /** Columns of a row, of queries and of keys. */
  qStride: number;
  kStride: number;
  width: number;
}

/** Where queries, keys and values lie: one matrix each, or side by side in one. */
function partsOf(call: Call, [q, k, v]: DeviceTensor[]): Parts {
  const { heads, kv_heads: kvHeads, packed } = call.attrs;
  if (!packed) {
    const [qStride, kStride] = [columnsOf(q!), columnsOf(k!)];
    return { q: q!.address, k: k!.address, v: v!.address, qStride, kStride, width: qStride / heads! };
  }
  const stride = columnsOf(q!);
  const width = stride / (heads! + 2 * kvHeads!);
  return { ...beside(q!.address, width, call), qStride: stride, kStride: stride, width };
}

function beside(at: number, width: number, { attrs }: Call): { q: number; k: number; v: number } {
  const k = at + 4 * attrs.heads! * width;
  return { q: at, k, v: k + 4 * attrs.kv_heads! * width };
}

const shapeArgs = ({ attrs }: Call, { width, qStride, kStride }: Parts): number[] => [
  ...[attrs.length!, attrs.heads!, attrs.kv_heads!, width, attrs.window!],
  ...[qStride, kStride],
];

/** Bytes of `tiles` tiles and of `weights` weights of every pair of a tile. */
const sharedBytes = (width: number, tiles: number, weights: number): number =>
  4 * (tiles * TILE * (Math.ceil(width / 4) * 4 + 4) + weights * (THREADS / 32) * TILE * ROWS);

export const attention: Record<string, CudaKernel> = {
  MinillmAttention(call) {
    const parts = partsOf(call, [...call.inputs]);
    const { heads, length } = call.attrs;
    const rows = rowsOf(call.inputs[0]!);
    const batch = rows / length!;
    const o = call.out([rows, heads! * parts.width]);
    const lse = call.out([batch, heads!, length!]);
    const kernel = `attention_forward_${headKernel(parts.width)}`;
    const args = [parts.q, parts.k, parts.v, o.address, lse.address, ...shapeArgs(call, parts)];
    const grid = [blocksOf(length!, TILE), heads!, batch];
    if (rows > 0) call.device.launch(kernel, grid, THREADS, args, sharedBytes(parts.width, 3, 1));
    return [o, lse];
  },
  MinillmAttentionGrad(call) {
    const [dy, q, k, v, o, lse] = call.inputs as DeviceTensor[] & { length: 6 };
    const parts = partsOf(call, [q!, k!, v!]);
    const { heads, kv_heads: kvHeads, length, packed } = call.attrs;
    const rows = rowsOf(q!);
    const outs = packed
      ? [call.out(q!.shape), call.out([0]), call.out([0])]
      : [call.out(q!.shape), call.out(k!.shape), call.out(v!.shape)];
    if (rows === 0) return outs;
    const [dq, dk, dv] = outs.map(({ address }) => address) as [number, number, number];
    const to = packed ? beside(dq, parts.width, call) : { q: dq, k: dk, v: dv };
    const batch = rows / length!;
    const delta = call.scratch(4 * rows * heads!);
    const count = rows * heads!;
    call.device.launch('attention_delta', blocksOf(count, THREADS / 32), THREADS, [
      ...[dy!.address, o!.address, delta, length!, heads!, parts.width, count],
    ]);
    const given = [dy!.address, parts.q, parts.k, parts.v, lse!.address, delta];
    const shape = shapeArgs(call, parts);
    const most = headKernel(parts.width);
    const tiles = blocksOf(length!, TILE);
    const forQ = [...given, to.q, ...shape];
    call.device.launch(
      `attention_backward_q_${most}`,
      [tiles, heads!, batch],
      THREADS,
      forQ,
      sharedBytes(parts.width, 4, 1),
    );
    const forKV = [...given, to.k, to.v, ...shape];
    call.device.launch(
      `attention_backward_kv_${most}`,
      [tiles, kvHeads!, batch],
      THREADS,
      forKV,
      sharedBytes(parts.width, 4, 2),
    );
    return outs;
  },
};
