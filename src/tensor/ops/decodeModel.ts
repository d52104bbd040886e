import type * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import type { DecoderWeights } from '../weights.js';

/**
 * One decoding step of a whole model of pre-norm blocks by one kernel, which spares a small model most of its time. The same
 * numbers as block after block with `decodeAttention`, up to rounding. Keys and values go into the caches in place. No gradient.
 *
 * @param tokens [B] @param positions [B], each in [0, S) @param keys of each layer [B·Hkv·S, Dh] @param values as keys
 * @returns hidden states [B, D]
 */
export function decodeModel(
  model: DecoderWeights,
  tokens: Int32Array,
  positions: Int32Array,
  cache: { keys: tf.Tensor2D[]; values: tf.Tensor2D[] },
  dims: { heads: number; kvHeads: number },
): tf.Tensor2D {
  return kernels().decode(model, tokens, positions, cache, dims);
}
