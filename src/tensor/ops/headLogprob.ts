import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels } from '../backend.js';
import { assertIndices, assertShape } from '../shape.js';
import { linear, unembed } from './linear.js';
import * as raw from './raw.js';
import { tokenLogprob } from './tokenLogprob.js';

/** An output head: [D, V], or tied to the embedding table, [V, D]. */
export interface Head {
  weight: tf.Tensor2D;
  tied: boolean;
}

/** Logits. @param states [N, D] @returns [N, V], differentiable in the states and the weight */
export function headLogits(states: tf.Tensor2D, { weight, tied }: Head): tf.Tensor2D {
  return tied ? unembed(states, weight) : linear(states, weight);
}

/**
 * The log-probability of one token a row, given the states before the head: y[n] = ln softmax(headLogits(states)[n])[ids[n]]. No
 * gradient; `tokenLogprob` of `headLogits` has one, and is its reference.
 *
 * With our kernels a block of logits is in a cache and nowhere else: a row's largest logit and its sum of exponentials are
 * carried on from block to block (Milakov and Gimelshein, arXiv 1805.02867). On the other engines `logitsBudget` logits are
 * made at a time.
 *
 * @param states [N, D] @param ids int32 [N], each in [0, V)
 * @param logitsBudget values, at least one row; default 2^24, 64 MiB
 * @returns [N]
 * @throws UsageError if the shapes or the index type do not fit
 */
export function headLogprob(
  states: tf.Tensor2D,
  head: Head,
  ids: tf.Tensor1D,
  logitsBudget = 1 << 24,
): tf.Tensor1D {
  const { weight, tied } = head;
  assertShape(states, [null, null], 'headLogprob: states');
  const [rows, width] = states.shape;
  assertShape(weight, tied ? [null, width] : [width, null], 'headLogprob: weight');
  assertIndices(ids, rows, 'headLogprob: ids');
  if (fusedKernels()) {
    return raw.run('MinillmHeadLogprob', [raw.attr.flag('transposed', tied)], [states, weight, ids]);
  }
  const step = Math.max(1, Math.floor(logitsBudget / weight.shape[tied ? 0 : 1]));
  return tf.tidy(() => {
    const parts: tf.Tensor1D[] = [];
    for (let start = 0; start < rows; start += step) {
      const count = Math.min(step, rows - start);
      parts.push(
        tf.tidy(() => {
          const some = tf.slice(states, [start, 0], [count, width]);
          return tokenLogprob(headLogits(some, head), tf.slice(ids, [start], [count]));
        }),
      );
    }
    return parts.length === 0 ? tf.tensor1d([]) : tf.concat(parts);
  });
}
