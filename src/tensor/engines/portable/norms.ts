import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import { columnSums } from './products.js';

/** [N, 1] */
const meanOfRow = (x: tf.Tensor2D): tf.Tensor2D => tf.mean(x, 1, true);

/** [N, 1]: the mean over each row of x · weight, as a product with a column. */
function meanWith(x: tf.Tensor2D, weight: tf.Tensor1D): tf.Tensor2D {
  return tf.matMul(x, tf.reshape(tf.div(weight, weight.size), [weight.size, 1]));
}

const plus = (dx: tf.Tensor2D, residual?: tf.Tensor2D): tf.Tensor2D => (residual ? tf.add(dx, residual) : dx);

type Norms = Pick<Kernels, 'layerNorm' | 'layerNormGrad' | 'rmsNorm' | 'rmsNormGrad'>;

export const norms: Norms = {
  layerNorm(x, gain, bias, eps) {
    const mean = meanOfRow(x);
    const centred = tf.sub<tf.Tensor2D>(x, mean);
    const inverse = tf.rsqrt(tf.add(meanOfRow(tf.square(centred)), eps)); // [N, 1]
    const y = tf.add<tf.Tensor2D>(tf.mul(tf.mul(centred, inverse), gain), bias);
    return [y, tf.concat([mean, inverse as tf.Tensor2D], 1)];
  },
  layerNormGrad(dy, x, gain, stats, residual) {
    const [mean, inverse] = tf.split(stats as tf.Tensor2D, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
    const normal = tf.mul<tf.Tensor2D>(tf.sub(x, mean), inverse);
    const dGain = tf.mul<tf.Tensor2D>(dy, normal); // before the sum over rows
    const offset = tf.sub(tf.mul(dy, gain), meanWith(dy, gain));
    const dx = tf.mul<tf.Tensor2D>(inverse, tf.sub(offset, tf.mul(normal, meanWith(dGain, gain))));
    return [plus(dx, residual), columnSums(dGain), columnSums(dy)];
  },
  rmsNorm(x, gain, eps) {
    const inverse = tf.rsqrt(tf.add(meanOfRow(tf.square(x)), eps)); // [N, 1]
    return [tf.mul(tf.mul(x, inverse), gain), tf.reshape(inverse, [x.shape[0]])];
  },
  rmsNormGrad(dy, x, gain, stats, residual) {
    const inverse = tf.reshape<tf.Rank.R2>(stats, [x.shape[0], 1]);
    const normal = tf.mul<tf.Tensor2D>(x, inverse);
    const dGain = tf.mul<tf.Tensor2D>(dy, normal); // before the sum over rows
    const dx = tf.mul<tf.Tensor2D>(inverse, tf.sub(tf.mul(dy, gain), tf.mul(normal, meanWith(dGain, gain))));
    return [plus(dx, residual), columnSums(dGain)];
  },
};
