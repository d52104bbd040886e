import { blocksOf, type Call, type CudaKernel, columnsOf, type DeviceTensor } from '../call.js';
import { headKernel } from './attention.js';
import { THREADS } from './elementwise.js';
import { factor, isWidened, type Matrix, matrixOf, widenRows } from './halves.js';
import { threadsFor } from './norms.js';

/** The tensors of a block, in the order of tensorflow/kernels/decode.cc. */
const SHARED = 4;
const OF_BLOCK = 20;
/** Maps of a block that may have adapters. */
const OF_MAPS = 7;

interface Attending {
  q: number;
  k: number;
  v: number;
  o: number;
  keys: number;
  values: number;
  positions: number;
  batch: number;
  heads: number;
  kvHeads: number;
  width: number;
  slots: number;
  window: number;
  /** Address of the windows of all layers; `window` is then a layer's number. */
  windows?: number;
  qStride: number;
  kStride: number;
  gainQ?: number;
  gainK?: number;
  cos?: number;
  sin?: number;
  eps?: number;
}

/** Keys and values of the new tokens go into the caches, and every query attends to the slots up to its own. */
function attend({ device }: Call, a: Attending): void {
  device.launch('decode_prepare', [a.heads + 2 * a.kvHeads, a.batch], 32, [
    ...[a.q, a.k, a.v, a.gainQ ?? 0, a.gainK ?? 0, a.cos ?? 0, a.sin ?? 0, a.positions, a.keys, a.values],
    ...[a.heads, a.kvHeads, a.width, a.slots, a.qStride, a.kStride, a.eps ?? 0],
  ]);
  const args = [a.q, a.keys, a.values, a.positions, a.o, a.heads, a.kvHeads, a.width, a.slots, a.window];
  const kernel = `decode_attend_${headKernel(a.width)}`;
  device.launch(kernel, [a.heads, a.batch], 128, [...args, a.windows ?? 0, a.qStride], 4 * 16 * a.width);
}

export const decode: Record<string, CudaKernel> = {
  MinillmDecodeAttention(call) {
    const [q, k, v, keys, values, positions] = call.inputs as DeviceTensor[] & { length: 6 };
    const { heads, kv_heads: kvHeads, window } = call.attrs;
    const batch = positions!.size;
    const width = columnsOf(keys!);
    const o = call.out(q!.shape);
    if (batch === 0) return [o];
    attend(call, {
      ...{
        q: q!.address,
        k: k!.address,
        v: v!.address,
        o: o.address,
        keys: keys!.address,
        values: values!.address,
      },
      ...{ positions: positions!.address, batch, heads: heads!, kvHeads: kvHeads!, width, window: window! },
      ...{ slots: keys!.shape[0]! / (batch * kvHeads!), qStride: heads! * width, kStride: kvHeads! * width },
    });
    return [o];
  },
  MinillmDecode: decodeModel,
};

/** The parameters; those of 16 bits are in a list of their own (tensorflow/kernels/decode.cc). */
function parametersOf(call: Call, first: number, count: number, halves: number): Matrix[] {
  const params = call.inputs.slice(first, first + count);
  if (halves === 0) return params.map((x) => matrixOf(x));
  const kinds = call.known(first + count + halves)!;
  let next = first + count;
  return params.map((x, i) => {
    const kind = kinds[2 * i]!;
    return kind === 0 ? matrixOf(x) : matrixOf(call.inputs[next++]!, kind, kinds[2 * i + 1]!);
  });
}

function decodeModel(call: Call): DeviceTensor[] {
  const { device, inputs, attrs } = call;
  const {
    L: layers,
    P: count,
    H: halves,
    heads,
    kv_heads: kvHeads,
    eps,
  } = attrs as { L: number; P: number; H: number; heads: number; kv_heads: number; eps: number };
  const [ids, positions, cos, sin, windows] = inputs as DeviceTensor[] &
    [DeviceTensor, DeviceTensor, DeviceTensor, DeviceTensor, DeviceTensor];
  const keys = inputs.slice(5, 5 + layers);
  const values = inputs.slice(5 + layers, 5 + 2 * layers);
  const params = parametersOf(call, 5 + 2 * layers, count, halves);
  const [tokens, places, lastGain, lastBias] = params as [Matrix, Matrix, Matrix, Matrix];
  const batch = ids.size;
  const width = columnsOf(tokens);
  const hidden = call.out([batch, width]);
  if (batch === 0) return [hidden];
  const head = columnsOf(keys[0]!);
  const [queries, pairs] = [heads * head, kvHeads * head];
  const together = queries + 2 * pairs;
  const inner = columnsOf(params[SHARED + 14]!);
  const room = (columns: number): number => call.scratch(4 * batch * columns);
  let [x, other] = [room(width), room(width)];
  // One matrix at a time is widened, where one must be.
  const largest = params
    .slice(SHARED)
    .reduce((most, w) => Math.max(most, isWidened(call, w) ? w.size : 0), 0);
  const widened = call.scratch(4 * largest);
  const [h, y, qkv, attended, up, gate] = [width, width, together, queries, inner, inner].map(room) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const or0 = (t: DeviceTensor): number => (t.size > 0 ? t.address : 0);
  const norm = (from: number, gain: DeviceTensor, bias: DeviceTensor, to: number): void =>
    device.launch('decode_norm', batch, threadsFor(width), [from, gain.address, or0(bias), to, width, eps]);
  const adapters = params.slice(SHARED + layers * OF_BLOCK);
  const scales = adapters.at(-1)?.address ?? 0;
  const ranks = adapters.slice(0, -1).map((x, i) => (i % 2 === 0 && x.size > 0 ? columnsOf(x) : 0));
  const [low, wide] =
    adapters.length > 0 ? [room(Math.max(...ranks)), room(Math.max(together, width, inner))] : [0, 0];
  /** What the adapter of a map adds, with the residual there is; the residual itself without one. */
  const adapted = (from: number, index: number, columns: number, residual = 0): number => {
    const [a, b] = adapters.slice(2 * index, 2 * index + 2);
    if (!a || a.size === 0) return residual;
    const rank = columnsOf(a);
    device.matMul({
      a: from,
      b: a.address,
      y: low,
      rows: batch,
      columns: rank,
      inner: a.shape[0]!,
      weights: true,
    });
    device.launch('elementwise_scale', blocksOf(batch * rank, THREADS), THREADS, [
      ...[low, scales + 4 * index, low, batch * rank],
    ]);
    device.matMul({
      a: low,
      b: b!.address,
      y: wide,
      rows: batch,
      columns,
      inner: rank,
      weights: true,
      residual,
    });
    return wide;
  };
  /** @param index of the map among those of all blocks that may have adapters */
  const affine = (
    from: number,
    w: readonly Matrix[],
    y: number,
    index: number,
    { leadY, residual }: { leadY?: number; residual?: number } = {},
  ) =>
    device.matMul({
      ...{ a: from, y, rows: batch, columns: columnsOf(w[0]!), inner: w[0]!.shape[0]! },
      ...factor(call, w[0]!, widened),
      bias: or0(w[1]!),
      ...(leadY !== undefined && { leadY }),
      residual: adapted(from, index, columnsOf(w[0]!), residual),
    });
  const all = batch * width;
  if (halves > 0) {
    widenRows(call, tokens, ids.address, x, batch);
    if (places.size > 0) widenRows(call, places, positions.address, x, batch, true);
  } else {
    device.launch('decode_embed', blocksOf(all, THREADS), THREADS, [
      ...[tokens.address, or0(places), ids.address, positions.address, x, width, all],
    ]);
  }
  for (let layer = 0; layer < layers; layer++) {
    const w = params.slice(SHARED + layer * OF_BLOCK, SHARED + (layer + 1) * OF_BLOCK);
    const map = layer * OF_MAPS;
    norm(x, w[0]!, w[1]!, h);
    affine(h, w.slice(2), qkv, map, { leadY: together });
    if (w[4]!.size > 0) {
      affine(h, w.slice(4), qkv + 4 * queries, map + 1, { leadY: together });
      affine(h, w.slice(6), qkv + 4 * (queries + pairs), map + 2, { leadY: together });
    }
    attend(call, {
      ...{ q: qkv, k: qkv + 4 * queries, v: qkv + 4 * (queries + pairs), o: attended },
      ...{ keys: keys[layer]!.address, values: values[layer]!.address, positions: positions.address },
      ...{ batch, heads, kvHeads, width: head, slots: keys[layer]!.shape[0]! / (batch * kvHeads) },
      ...{ window: layer, windows: windows.address, qStride: together, kStride: together },
      ...{ gainQ: or0(w[8]!), gainK: or0(w[9]!), cos: or0(cos), sin: or0(sin), eps },
    });
    affine(attended, w.slice(10), y, map + 3, { residual: x });
    norm(y, w[12]!, w[13]!, h);
    affine(h, w.slice(14), up, map + 4);
    const size = batch * inner;
    const blocks = blocksOf(size, THREADS);
    if (w[16]!.size > 0) {
      affine(h, w.slice(16), gate, map + 5);
      device.launch('elementwise_swiglu', blocks, THREADS, [gate, up, up, size]);
    } else device.launch('elementwise_gelu', blocks, THREADS, [up, up, size]);
    affine(up, w.slice(18), other, map + 6, { residual: y });
    [x, other] = [other, x];
  }
  norm(x, lastGain, lastBias, hidden.address);
  return [hidden];
}
