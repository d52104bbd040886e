import type * as tf from '@tensorflow/tfjs-core';
import { type Head, kernels } from '../kernels.js';
import { assertIndices, assertShape } from '../shape.js';
import { unembed } from './linear.js';
import { linear } from './maps.js';

/** Logits. @param states [N, D] @returns [N, V], differentiable in the states and the weight */
export function headLogits(states: tf.Tensor2D, { weight, tied }: Head): tf.Tensor2D {
  return tied ? unembed(states, weight) : linear(states, weight);
}

/**
 * The log-probability of one token a row, given the states before the head: y[n] = ln softmax(headLogits(states)[n])[ids[n]]. No
 * gradient; `tokenLogprob` of `headLogits` has one, and is its reference.
 *
 * The C++ kernel has a block of logits in a cache and nowhere else: a row's largest logit and its sum of exponentials are
 * carried on from block to block (Milakov and Gimelshein, arXiv 1805.02867). Other engines make `logitsBudget` logits at a time.
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
  return kernels().headLogprob(states, head, ids, logitsBudget);
}
