import * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';

/**
 * Every number replaced by the mean over its group: y_n = (1/|g|) Σ_{m in g} x_m, g the group of n. Groups follow one another.
 *
 * Linear and symmetric: its gradient is the same operation on dy. Not differentiable by itself; whoever has a gradient of his own
 * calls it there again.
 *
 * @param x [N] @param lengths of the groups in order, their sum N @returns [N]
 */
export function groupMeans(x: tf.Tensor1D, lengths: ArrayLike<number>): tf.Tensor1D {
  return tf.tidy(() => {
    const count = lengths.length;
    const groups = Array.from({ length: count }, (_, g) => new Array<number>(lengths[g]!).fill(g)).flat();
    const rows = tf.tensor1d(groups, 'int32');
    const sums = kernels().gatherRowsGrad(tf.reshape(x, [x.size, 1]), rows, count);
    const shares = tf.tensor2d(
      Array.from({ length: count }, (_, g) => 1 / lengths[g]!),
      [count, 1],
    );
    return tf.reshape(kernels().gatherRows(tf.mul(sums, shares), rows), [x.size]) as tf.Tensor1D;
  });
}
