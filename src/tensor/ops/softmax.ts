import * as tf from '@tensorflow/tfjs-core';
import { native } from '../backend.js';
import * as raw from './raw.js';

/** softmax of each row of [N, V]; logits of -Infinity get exactly 0. */
export function softmax(x: tf.Tensor2D): tf.Tensor2D {
  return native() ? raw.plain('Softmax', x) : tf.softmax(x);
}

/**
 * ln softmax of each row of [N, V]; `p` is softmax(x) where it is known already.
 *
 * The portable engines have a fused softmax but no log-softmax. At the largest logit p is 1/Σ exp(x − max), at
 * least 1/V and so known to full precision; hence ln p(v) = (x(v) − max x) + ln max p.
 */
export function logSoftmax(x: tf.Tensor2D, p?: tf.Tensor2D): tf.Tensor2D {
  if (native()) return raw.plain('LogSoftmax', x);
  return tf.add(tf.sub(x, tf.max(x, 1, true)), tf.log(tf.max(p ?? tf.softmax(x), 1, true)));
}
