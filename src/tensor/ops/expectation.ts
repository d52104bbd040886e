import * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';

/**
 * The mean of a number of every token under q = softmax(logits), a row: E = Σ_v q(v) x(v), on the kernels of the reverse KL,
 *
 *     E = KL(q‖uniform) − KL(q‖softmax x) + ln Σ_v exp x(v) − ln V
 *
 * Gradient in the logits: q(v) (x(v) − E); exactly 0 where x is 0. None in x, a constant.
 *
 * @param logits [N, V] @param x [N, V] @returns [N]
 * @throws UsageError if the shapes differ
 */
export function expectation(logits: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor1D {
  assertShape(logits, [null, null], 'expectation: logits');
  assertShape(x, logits.shape, 'expectation: x');
  const [rows, vocab] = logits.shape;
  let keptOfUniform = 0;
  return differentiable<tf.Tensor1D>(
    [logits],
    (save) => {
      const k = kernels();
      const [ofUniform, kept] = k.divergence('reverseKl', logits, tf.zerosLike(logits));
      const [ofX, more] = k.divergence('reverseKl', logits, x);
      keptOfUniform = kept.length;
      save([...kept, ...more]);
      const first = tf.reshape<tf.Rank.R1>(tf.slice(x, [0, 0], [rows, 1]), [rows]);
      const [logFirst] = k.tokenLogprob(x, tf.zeros([rows], 'int32'));
      const logSum = tf.sub<tf.Tensor1D>(first, logFirst);
      return tf.add(tf.sub(ofUniform, ofX), tf.sub(logSum, Math.log(vocab)));
    },
    (dy, kept) => {
      const ofUniform = kernels().divergenceGrad('reverseKl', dy, kept.slice(0, keptOfUniform));
      return [tf.sub(ofUniform, kernels().divergenceGrad('reverseKl', dy, kept.slice(keptOfUniform)))];
    },
  );
}
