import * as tf from '@tensorflow/tfjs-core';
import { reverseKl } from './divergences.js';

/**
 * Entropy of each row, H = −Σ_v q(v) ln q(v), in nats: ln V less the reverse KL from the uniform distribution, whose kernels it
 * runs on.
 *
 * Gradient in the logits: −q(v) (ln q(v) + H).
 *
 * @param logits [N, V] @returns [N]
 * @throws UsageError if it is no matrix
 */
export function entropy(logits: tf.Tensor2D): tf.Tensor1D {
  const uniform = tf.zerosLike(logits);
  return tf.sub(Math.log(logits.shape[1]!), reverseKl(logits, uniform));
}
