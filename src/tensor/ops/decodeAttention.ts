import type * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../../errors.js';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';

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
 *
 * @param positions [B], each in [0, S)
 * @throws UsageError if the shapes do not fit, or H is no multiple of Hkv
 */
export function decodeAttention(positions: Int32Array, dims: DecodeDims): DecodeAttention {
  const { batch, slots, heads, kvHeads, headDim } = dims;
  checkGroups(heads, kvHeads, 'decodeAttention');
  return (q, k, v, keys, values, window) => {
    assertShape(q, [batch, heads * headDim], 'decodeAttention: q');
    for (const [name, x] of Object.entries({ k, v }))
      assertShape(x, [batch, kvHeads * headDim], `decodeAttention: ${name}`);
    for (const [name, x] of Object.entries({ keys, values }))
      assertShape(x, [batch * kvHeads * slots, headDim], `decodeAttention: ${name}`);
    return kernels().decodeAttention(q, k, v, { keys, values }, positions, { heads, kvHeads, window });
  };
}

/** @throws UsageError if the query heads cannot share the key/value heads evenly */
export function checkGroups(heads: number, kvHeads: number, where: string): void {
  if (heads % kvHeads !== 0) {
    throw new UsageError(`${where}: ${heads} query heads cannot share ${kvHeads} key/value heads evenly`);
  }
}
