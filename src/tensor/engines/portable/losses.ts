import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import { addressable, memoryOf } from './memory.js';
import { products } from './products.js';
import { softmax } from './softmax.js';
import { widened } from './widened.js';

/**
 * With p = softmax(x), y = (x[id] − max x) + ln max p, where max p = 1/Σ exp(x − max x) is at least 1/V, so that nothing
 * underflows however improbable the token is. Kept are p and the places of the tokens in it.
 */
export const losses: Pick<Kernels, 'tokenLogprob' | 'tokenLogprobGrad' | 'headLogprob'> = {
  tokenLogprob(logits, ids) {
    const [rows, width] = logits.shape;
    const at = tf.add<tf.Tensor1D>(ids, rowStarts(rows, width)); // positions in the flattened matrix
    const p = softmax(logits);
    const chosen = tf.gather(tf.reshape<tf.Rank.R1>(logits, [rows * width]), at);
    const y = tf.add<tf.Tensor1D>(tf.sub(chosen, tf.max(logits, 1)), tf.log(tf.max(p, 1)));
    return [y, [p, at]];
  },
  tokenLogprobGrad(dy, kept) {
    const [p, at] = kept as [tf.Tensor2D, tf.Tensor1D];
    const spread = tf.mul<tf.Tensor2D>(p, tf.reshape(tf.neg(dy), [p.shape[0], 1]));
    return addAt(spread, at, dy);
  },
  headLogprob: (states, { weight, tied }, ids, budget) =>
    tf.tidy(() => {
      const [rows, width] = states.shape;
      const floats = widened(weight);
      const step = Math.max(1, Math.floor(budget / floats.shape[tied ? 0 : 1]));
      const parts: tf.Tensor1D[] = [];
      for (let start = 0; start < rows; start += step) {
        const count = Math.min(step, rows - start);
        parts.push(
          tf.tidy(() => {
            const some = tf.slice(states, [start, 0], [count, width]);
            const logits = products.matMul(some, floats, { transposeB: tied });
            return losses.tokenLogprob(logits, tf.slice(ids, [start], [count]))[0];
          }),
        );
      }
      return parts.length === 0 ? tf.tensor1d([]) : tf.concat(parts);
    }),
};

/** Adds values[n] at position at[n] of the flattened matrix, in place where that can be: x is a temporary of our own. */
function addAt(x: tf.Tensor2D, at: tf.Tensor1D, values: tf.Tensor1D): tf.Tensor2D {
  if (!addressable()) {
    const places = tf.scatterND(tf.reshape(at, [at.size, 1]), values, [x.size]);
    return tf.add(x, tf.reshape(places, x.shape));
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
