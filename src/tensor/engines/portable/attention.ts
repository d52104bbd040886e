import * as tf from '@tensorflow/tfjs-core';
import type { AttentionDims, AttentionParts, Kernels } from '../../kernels.js';
import { addressable, memoryOf } from './memory.js';

type Parts = [q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D];

/**
 * Attention with the [T, T] matrices of all heads; their softmax is kept for the backward pass.
 *
 * The query heads that share a key/value head are stacked along the rows of one product, so nothing is repeated
 * in memory and the gradients of k and v are summed over the group by the product itself.
 */
export const attention: Pick<Kernels, 'attention' | 'attentionGrad'> = {
  attention(parts, dims) {
    const { batch, length, heads, kvHeads, headDim } = dims;
    const group = heads / kvHeads;
    const [q, k, v] = apart(parts, dims);
    const qh = splitHeads(tf.mul(q, 1 / Math.sqrt(headDim)), dims, group); // [B·Hkv, G·T, Dh]
    const scores = tf.reshape(product(qh, splitHeads(k, dims, 1), false, true), [
      batch * heads,
      length,
      length,
    ]);
    const p = tf.reshape<tf.Rank.R3>(tf.softmax(tf.add(scores, causalMask(length, dims.window ?? 0))), [
      batch * kvHeads,
      group * length,
      length,
    ]);
    return [joinHeads(product(p, splitHeads(v, dims, 1)), dims, group), p];
  },
  attentionGrad(dy, { parts, o, kept }, dims) {
    const group = dims.heads / dims.kvHeads;
    const scale = 1 / Math.sqrt(dims.headDim);
    const [q, k, v] = apart(parts, dims);
    const p = kept as tf.Tensor3D;
    const qh = splitHeads(tf.mul(q, scale), dims, group);
    const d = splitHeads(dy, dims, group);
    const dp = product(d, splitHeads(v, dims, 1), false, true);
    // Σ_u p dp, without touching the [T, T] matrices
    const along = tf.sum(tf.mul(d, splitHeads(o, dims, group)), 2, true);
    const ds = tf.mul<tf.Tensor3D>(p, tf.sub(dp, along));
    const dq = tf.mul<tf.Tensor2D>(joinHeads(product(ds, splitHeads(k, dims, 1)), dims, group), scale);
    const grads = [dq, joinHeads(product(ds, qh, true), dims, 1), joinHeads(product(p, d, true), dims, 1)];
    return parts.length === 1 ? [tf.concat(grads, 1)] : grads;
  },
};

function apart(parts: AttentionParts, { heads, kvHeads, headDim }: AttentionDims): Parts {
  if (parts.length === 3) return parts;
  const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
  return tf.split(parts[0], widths, 1) as Parts;
}

/** The product of each pair of matrices of [P, ·, ·]. */
function product(a: tf.Tensor3D, b: tf.Tensor3D, transposeA = false, transposeB = false): tf.Tensor3D {
  if (!addressable()) return tf.matMul(a, b, transposeA, transposeB);
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
