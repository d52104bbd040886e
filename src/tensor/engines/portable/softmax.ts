import * as tf from '@tensorflow/tfjs-core';
import { addressable } from './memory.js';
import { rowSums } from './rowSums.js';

/** softmax of each row of [N, V]; logits of -Infinity get exactly 0. */
export function softmax(x: tf.Tensor2D): tf.Tensor2D {
  const p = tf.softmax(x);
  // Its normaliser is a float32 sum on wasm, wrong by 6e-5 for 150,000 tokens.
  return tf.getBackend() === 'wasm' && x.shape[1] > 4096 ? tf.div(p, rowSums(p)) : p;
}

/**
 * ln softmax of each row of [N, V]; `p` is softmax(x) where it is known already.
 *
 * The portable engines have a fused softmax but no log-softmax. At the largest logit p is 1/Σ exp(x − max), at
 * least 1/V and so known to full precision; hence ln p(v) = (x(v) − max x) + ln max p.
 */
export function logSoftmax(x: tf.Tensor2D, p?: tf.Tensor2D): tf.Tensor2D {
  if (!addressable()) return tf.logSoftmax(x);
  return tf.add(tf.sub(x, tf.max(x, 1, true)), tf.log(tf.max(p ?? softmax(x), 1, true)));
}
