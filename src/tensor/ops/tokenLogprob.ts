import type * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import { assertIndices, assertShape } from '../shape.js';
import { differentiable } from './custom.js';

/**
 * The log-probability of one token per row: y[n] = ln softmax(logits[n])[ids[n]].
 *
 * Gradient: dy[n] · (onehot(ids[n]) − softmax(logits[n])). Logits of -Infinity are allowed (probability 0).
 *
 * The matrix of all log-probabilities is never made.
 *
 * @param logits [N, V] @param ids int32 [N], each in [0, V)
 * @returns [N], differentiable in the logits
 * @throws UsageError if the shapes or the index type do not fit (the range of the ids is the caller's duty)
 */
export function tokenLogprob(logits: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor1D {
  assertShape(logits, [null, null], 'tokenLogprob: logits');
  assertIndices(ids, logits.shape[0], 'tokenLogprob: ids');
  return differentiable<tf.Tensor1D>(
    [logits],
    (save) => {
      const [y, kept] = kernels().tokenLogprob(logits, ids);
      save(kept);
      return y;
    },
    (dy, kept) => [kernels().tokenLogprobGrad(dy, kept)],
  );
}
