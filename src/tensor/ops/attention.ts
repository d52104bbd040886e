import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../../errors.js';
import { fusedKernels, native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import { memoryOf } from './memory.js';
import * as raw from './raw.js';

export interface AttentionDims {
  batch: number;
  /** Slots of each sequence, T. */
  length: number;
  /** Query heads, H. */
  heads: number;
  /** Key/value heads, Hkv; query head h reads key/value head floor(h · Hkv / H). */
  kvHeads: number;
  headDim: number;
  /** How many slots back a query looks, its own included (Mistral, arXiv 2310.06825, section 2); 0 or absent: all. */
  window?: number;
}

/**
 * Causal scaled dot-product attention (Vaswani et al., arXiv 1706.03762, eq. 1) with grouped queries
 * (Ainslie et al., arXiv 2305.13245): o[t] = Σ_{u≤t} softmax_u(q[t]·k[u] / sqrt(Dh)) v[u], with a window only over
 * t − window < u ≤ t.
 *
 * The query heads that share a key/value head are stacked along the rows of one product, so nothing is repeated
 * in memory and the gradients of k and v are summed over the group by the product itself.
 *
 * @param q [B·T, H·Dh] @param k [B·T, Hkv·Dh] @param v [B·T, Hkv·Dh], rows by sequence, then slot
 * @returns [B·T, H·Dh], differentiable in q, k and v
 * @throws UsageError if the shapes do not fit, or H is no multiple of Hkv
 */
export function causalAttention(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  dims: AttentionDims,
): tf.Tensor2D {
  const { batch, length, heads, kvHeads, headDim } = dims;
  checkGroups(heads, kvHeads, 'causalAttention');
  assertShape(q, [batch * length, heads * headDim], 'causalAttention: q');
  assertShape(k, [batch * length, kvHeads * headDim], 'causalAttention: k');
  assertShape(v, [batch * length, kvHeads * headDim], 'causalAttention: v');
  if (fusedKernels()) return fusedAttention(q, k, v, dims);
  const group = heads / kvHeads;
  const scale = 1 / Math.sqrt(headDim);
  return differentiable<tf.Tensor2D>(
    [q, k, v],
    (save) => {
      const qh = splitHeads(tf.mul(q, scale), dims, group); // [B·Hkv, G·T, Dh]
      const kh = splitHeads(k, dims, 1); // [B·Hkv, T, Dh]
      const vh = splitHeads(v, dims, 1);
      const scores = tf.reshape(product(qh, kh, false, true), [batch * heads, length, length]);
      const p = tf.reshape(tf.softmax(tf.add(scores, causalMask(length, dims.window ?? 0))), [
        -1,
        group * length,
        length,
      ]);
      const o = product(p as tf.Tensor3D, vh);
      save([qh, kh, vh, p, o]);
      return joinHeads(o, dims, group);
    },
    (dy, saved) => {
      const [qh, kh, vh, p, o] = saved as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
      const d = splitHeads(dy, dims, group);
      const dp = product(d, vh, false, true);
      const along = tf.sum(tf.mul(d, o), 2, true); // Σ_u p dp, without touching the [T, T] matrices
      const ds = tf.mul<tf.Tensor3D>(p, tf.sub(dp, along));
      return [
        tf.mul(joinHeads(product(ds, kh), dims, group), scale),
        joinHeads(product(ds, qh, true), dims, 1),
        joinHeads(product(p, d, true), dims, 1),
      ];
    },
  );
}

/**
 * Attention of one query per sequence over a cache: `causalAttention` for the last token. No gradient.
 *
 * @param q [B, H·Dh] @param keys [B·Hkv·S, Dh], row (b·Hkv + h)·S + slot @param values as keys
 * @param bias [B, S] added to the scores: 0 for a slot to read, -1e9 for an empty one
 * @returns [B, H·Dh]
 * @throws UsageError if the shapes do not fit, or H is no multiple of Hkv
 */
export function cachedAttention(
  q: tf.Tensor2D,
  keys: tf.Tensor2D,
  values: tf.Tensor2D,
  bias: tf.Tensor2D,
  dims: { batch: number; slots: number; heads: number; kvHeads: number; headDim: number },
): tf.Tensor2D {
  const { batch, slots, heads, kvHeads, headDim } = dims;
  checkGroups(heads, kvHeads, 'cachedAttention');
  assertShape(q, [batch, heads * headDim], 'cachedAttention: q');
  assertShape(keys, [batch * kvHeads * slots, headDim], 'cachedAttention: keys');
  assertShape(values, [batch * kvHeads * slots, headDim], 'cachedAttention: values');
  assertShape(bias, [batch, slots], 'cachedAttention: bias');
  return tf.tidy(() => {
    const cache = [batch, kvHeads, slots, headDim];
    const qh = tf.reshape(tf.mul(q, 1 / Math.sqrt(headDim)), [batch, kvHeads, heads / kvHeads, headDim]);
    const scores = tf.matMul(qh, tf.reshape(keys, cache), false, true); // [B, Hkv, G, S]
    const p = tf.softmax(tf.add(scores, tf.reshape(bias, [batch, 1, 1, slots])));
    // For a single matrix on the right wasm keeps a packed copy under its id, and would not see rows written later.
    const read = batch * kvHeads === 1 && !native() ? tf.clone(values) : values;
    const o = tf.matMul(p, tf.reshape(read, cache));
    return tf.reshape(o, [batch, heads * headDim]) as tf.Tensor2D;
  });
}

function checkGroups(heads: number, kvHeads: number, where: string): void {
  if (heads % kvHeads !== 0) {
    throw new UsageError(`${where}: ${heads} query heads cannot share ${kvHeads} key/value heads evenly`);
  }
}

/** By one kernel each way, which never makes the [T, T] matrices of all heads and skips what the mask hides. */
function fusedAttention(q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D, dims: AttentionDims): tf.Tensor2D {
  return differentiable<tf.Tensor2D>(
    [q, k, v],
    (save) => {
      const [o, lse] = attentionKernel([q, k, v], dims);
      save([q, k, v, o, lse]);
      return o;
    },
    (dy, saved) => {
      const [q, k, v, o, lse] = saved as tf.Tensor2D[];
      return attentionGradient(dy, { parts: [q!, k!, v!], o: o!, lse: lse! }, dims);
    },
  );
}

/** Queries, keys and values; or all of them side by side in one matrix [B·T, (H + 2 Hkv)·Dh], as one linear map makes them. */
export type AttentionParts = [q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D] | [qkv: tf.Tensor2D];

const kernelAttrs = (parts: AttentionParts, { heads, kvHeads, length, window = 0 }: AttentionDims) => [
  raw.attr.int('heads', heads),
  raw.attr.int('kv_heads', kvHeads),
  raw.attr.int('length', length),
  raw.attr.int('window', window),
  raw.attr.flag('packed', parts.length === 1),
];

/** `causalAttention` by its kernel alone: the result, and ln Σ exp of the rows of scores, which the gradient needs. */
export function attentionKernel(
  parts: AttentionParts,
  dims: AttentionDims,
): [o: tf.Tensor2D, lse: tf.Tensor] {
  const [q, k = q, v = q] = parts;
  return raw.runAll('MinillmAttention', kernelAttrs(parts, dims), [q, k, v], 2) as [tf.Tensor2D, tf.Tensor];
}

/** The gradients of `attentionKernel` for its parts. */
export function attentionGradient(
  dy: tf.Tensor2D,
  { parts, o, lse }: { parts: AttentionParts; o: tf.Tensor2D; lse: tf.Tensor },
  dims: AttentionDims,
): tf.Tensor2D[] {
  const [q, k = q, v = q] = parts;
  const inputs = [dy, q, k, v, o, lse];
  const grads = raw.runAll('MinillmAttentionGrad', kernelAttrs(parts, dims), inputs, 3) as tf.Tensor2D[];
  tf.dispose(grads.slice(parts.length));
  return grads.slice(0, parts.length);
}

/** The product of each pair of matrices of [P, ·, ·]. */
function product(a: tf.Tensor3D, b: tf.Tensor3D, transposeA = false, transposeB = false): tf.Tensor3D {
  if (native()) return raw.batchMatMul(a, b, transposeA, transposeB);
  // wasm multiplies single matrices ten times as fast as batches, and only untransposed ones.
  const left = transposeA ? tf.transpose(a, [0, 2, 1]) : a;
  const right = transposeB ? tf.transpose(b, [0, 2, 1]) : b;
  const [pairs, rows, inner] = left.shape;
  const columns = right.shape[2];
  const out = new Float32Array(pairs * rows * columns);
  const part = (x: tf.Tensor3D, i: number, height: number, width: number) =>
    tf.tensor2d(memoryOf(x).slice(i * height * width, (i + 1) * height * width), [height, width]);
  for (let i = 0; i < pairs; i++) {
    tf.tidy(() => {
      const y = tf.matMul(part(left, i, rows, inner), part(right, i, inner, columns));
      out.set(memoryOf(y), i * rows * columns);
    });
  }
  return tf.tensor3d(out, [pairs, rows, columns]);
}

/** [B·T, Hkv·G·Dh] to [B·Hkv, G·T, Dh]. */
function splitHeads(x: tf.Tensor2D, dims: AttentionDims, group: number): tf.Tensor3D {
  const { batch, length, kvHeads, headDim } = dims;
  const parts = tf.reshape(x, [batch, length, kvHeads * group, headDim]);
  return tf.reshape(tf.transpose(parts, [0, 2, 1, 3]), [batch * kvHeads, group * length, headDim]);
}

/** The inverse of `splitHeads`. */
function joinHeads(x: tf.Tensor3D, dims: AttentionDims, group: number): tf.Tensor2D {
  const { batch, length, kvHeads, headDim } = dims;
  const parts = tf.reshape(x, [batch, kvHeads * group, length, headDim]);
  return tf.reshape(tf.transpose(parts, [0, 2, 1, 3]), [batch * length, kvHeads * group * headDim]);
}

// Plain numbers, not tensors, are cached: nothing to dispose, and good for every backend.
const masks = new Map<string, Float32Array>();

/** [T, T]: 0 where slot t may read slot u, else -1e9, whose exponential is exactly 0. */
function causalMask(length: number, window: number): tf.Tensor2D {
  const key = `${length}/${window}`;
  let mask = masks.get(key);
  if (!mask) {
    mask = Float32Array.from({ length: length * length }, (_, i) => {
      const back = Math.floor(i / length) - (i % length);
      return back >= 0 && (window === 0 || back < window) ? 0 : -1e9;
    });
    if (masks.size >= 8) masks.clear();
    masks.set(key, mask);
  }
  return tf.tensor2d(mask, [length, length]);
}
