import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels } from '../backend.js';
import { assertShape } from '../shape.js';
import { cachedAttention } from './attention.js';
import * as raw from './raw.js';
import { writeRows } from './writeRows.js';

export interface DecodeDims {
  batch: number;
  /** Tokens that a sequence can hold in the cache, S. */
  slots: number;
  heads: number;
  kvHeads: number;
  headDim: number;
}

/** Attention of one layer for one new token of every sequence. `window`: how many tokens back it looks, 0 for all. */
export type DecodeAttention = (
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  keys: tf.Tensor2D,
  values: tf.Tensor2D,
  window: number,
) => tf.Tensor2D;

/**
 * One decoding step, the same for all layers: the new keys and values go into the caches, in place, at the tokens'
 * positions; every query attends to the slots up to its own. No gradient.
 *
 * q [B, H·Dh], k and v [B, Hkv·Dh], keys and values [B·Hkv·S, Dh] with row (b·Hkv + h)·S + slot; the result is [B, H·Dh].
 * With our kernels only filled slots are touched; otherwise all are, under a mask. Call inside a tidy: what the layers
 * share belongs to it.
 *
 * @param positions [B], each in [0, S)
 */
export function decodeAttention(positions: Int32Array, dims: DecodeDims): DecodeAttention {
  return fusedKernels() ? fused(positions, dims) : composed(positions, dims);
}

function fused(positions: Int32Array, dims: DecodeDims): DecodeAttention {
  const at = tf.tensor1d(positions, 'int32');
  const { int } = raw.attr;
  return (q, k, v, keys, values, window) => {
    const attrs = [int('heads', dims.heads), int('kv_heads', dims.kvHeads), int('window', window)];
    return raw.run('MinillmDecodeAttention', attrs, [q, k, v, keys, values, at]);
  };
}

/** Added to the score of a slot that is not to be read; its exponential is exactly 0. */
const HIDDEN = -1e9;

function composed(positions: Int32Array, dims: DecodeDims): DecodeAttention {
  const { batch, slots, kvHeads, headDim } = dims;
  const rows = new Int32Array(batch * kvHeads);
  positions.forEach((position, b) => {
    for (let h = 0; h < kvHeads; h++) rows[b * kvHeads + h] = (b * kvHeads + h) * slots + position;
  });
  // Numbers, not tensors: each layer has a tidy of its own.
  const masks = new Map<number, Float32Array>();
  const maskOf = (window: number): Float32Array => {
    const bias = new Float32Array(batch * slots).fill(HIDDEN);
    positions.forEach((position, b) => {
      const first = window > 0 ? Math.max(0, position + 1 - window) : 0;
      bias.fill(0, b * slots + first, b * slots + position + 1);
    });
    masks.set(window, bias);
    return bias;
  };
  return (q, k, v, keys, values, window) => {
    assertShape(k, [batch, kvHeads * headDim], 'decodeAttention: k');
    const written = [keys, values].map((buffer, i) =>
      writeRows(buffer, rows, tf.reshape(i === 0 ? k : v, [rows.length, headDim])),
    ) as [tf.Tensor2D, tf.Tensor2D];
    const mask = tf.tensor2d(masks.get(window) ?? maskOf(window), [batch, slots]);
    return cachedAttention(q, ...written, mask, dims);
  };
}
