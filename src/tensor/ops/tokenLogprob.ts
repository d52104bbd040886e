import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertIndices, assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import { memoryOf } from './memory.js';
import * as raw from './raw.js';
import { softmax } from './softmax.js';

/**
 * The log-probability of one token per row: y[n] = ln softmax(logits[n])[ids[n]].
 *
 * Gradient: dy[n] · (onehot(ids[n]) − softmax(logits[n])). Logits of -Infinity are allowed (probability 0).
 *
 * The matrix of all log-probabilities is never made: with p = softmax(x), y = (x[id] − max x) + ln max p, where
 * max p = 1/Σ exp(x − max x) is at least 1/V, so nothing underflows however improbable the token is.
 *
 * @param logits [N, V] @param ids int32 [N], each in [0, V)
 * @returns [N], differentiable in the logits
 * @throws UsageError if the shapes or the index type do not fit (the range of the ids is the caller's duty)
 */
export function tokenLogprob(logits: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor1D {
  assertShape(logits, [null, null], 'tokenLogprob: logits');
  assertIndices(ids, logits.shape[0], 'tokenLogprob: ids');
  if (fusedKernels()) {
    return differentiable<tf.Tensor1D>(
      [logits],
      (save) => {
        const [y, norms] = raw.runAll('MinillmTokenLogprob', [], [logits, ids], 2);
        save([logits, ids, norms!]);
        return y as tf.Tensor1D;
      },
      (dy, saved) => [raw.run('MinillmTokenLogprobGrad', [], [dy, ...saved])],
    );
  }
  const [rows, width] = logits.shape;
  return differentiable<tf.Tensor1D>(
    [logits],
    (save) => {
      const at = tf.add<tf.Tensor1D>(ids, rowStarts(rows, width)); // positions in the flattened matrix
      const p = softmax(logits);
      save([p, at]);
      const flat = tf.reshape<tf.Rank.R1>(logits, [rows * width]);
      const chosen = native() ? raw.gather(flat, at) : tf.gather(flat, at);
      return tf.add(tf.sub(chosen, tf.max(logits, 1)), tf.log(tf.max(p, 1)));
    },
    (dy, saved) => {
      const [p, at] = saved as [tf.Tensor2D, tf.Tensor1D];
      const spread = tf.mul<tf.Tensor2D>(p, tf.reshape(tf.neg(dy), [rows, 1]));
      return [addAt(spread, at, dy)];
    },
  );
}

/** Adds values[n] at position at[n] of the flattened matrix, in place: for a temporary of our own, never a saved tensor. */
function addAt(x: tf.Tensor2D, at: tf.Tensor1D, values: tf.Tensor1D): tf.Tensor2D {
  if (native()) {
    const flat = tf.reshape(x, [x.size]); // shares the memory
    return tf.reshape(raw.plain('InplaceAdd', flat, at, values), x.shape);
  }
  const [target, positions, addends] = [memoryOf(x), memoryOf(at), memoryOf(values)];
  positions.forEach((position, n) => {
    target[position]! += addends[n]!;
  });
  return x;
}

/** int32 [0, V, 2V, ...]. */
function rowStarts(rows: number, width: number): tf.Tensor1D {
  return tf.tensor1d(
    Int32Array.from({ length: rows }, (_, n) => n * width),
    'int32',
  );
}
