import * as tf from '@tensorflow/tfjs-core';
import { type Head, kernels } from '../kernels.js';
import { assertIndices, assertShape } from '../shape.js';
import { gatherRows } from './gatherRows.js';
import { inputGradient, unembed } from './linear.js';
import { linear } from './maps.js';

/** Logits. @param states [N, D] @returns [N, V], differentiable in the states and the weight */
export function headLogits(states: tf.Tensor2D, { weight, tied }: Head): tf.Tensor2D {
  return tied ? unembed(states, weight) : linear(states, weight);
}

/** One-hot rows made at a time, of a head whose columns are the tokens: 64 MiB. */
const ONE_HOT = 1 << 24;

/**
 * What the states are multiplied with for one token a row: headLogits(x)[n][ids[n]] = x_n · y_n. No gradient.
 *
 * @param ids int32 [N], each in [0, V) @param vocab V @returns [N, D]
 */
export function headRows({ weight, tied }: Head, ids: tf.Tensor1D, vocab: number): tf.Tensor2D {
  assertIndices(ids, null, 'headRows: ids');
  if (tied) return gatherRows(weight, ids);
  const step = Math.max(1, Math.floor(ONE_HOT / vocab));
  const pieces: tf.Tensor2D[] = [];
  for (let at = 0; at < ids.size; at += step) {
    const some = tf.slice(ids, at, Math.min(step, ids.size - at));
    pieces.push(
      tf.tidy(() =>
        inputGradient(tf.cast<tf.Tensor2D>(tf.oneHot(some, vocab) as tf.Tensor2D, 'float32'), weight),
      ),
    );
  }
  return pieces.length === 1 ? pieces[0]! : tf.concat(pieces, 0);
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
