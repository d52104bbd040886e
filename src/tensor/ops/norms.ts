import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import { columnSums } from './linear.js';
import * as raw from './raw.js';

/** [N, 1] */
const meanOfRow = (x: tf.Tensor2D): tf.Tensor2D => (native() ? raw.meanOfRow(x) : tf.mean(x, 1, true));

/** [N, 1]: the mean over each row of x · weight, as a product with a column. */
function meanWith(x: tf.Tensor2D, weight: tf.Tensor1D): tf.Tensor2D {
  return tf.matMul(x, tf.reshape(tf.div(weight, weight.size), [weight.size, 1]));
}

/**
 * Layer normalisation of each row: y = gain · (x − mean x) / sqrt(var x + eps) + bias, population variance
 * (Ba et al., arXiv 1607.06450, eq. 4).
 *
 * @param x [N, D] @param gain [D] @param bias [D]
 * @returns [N, D], differentiable in x, gain and bias
 * @throws UsageError if the shapes do not fit
 */
export function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D, bias: tf.Tensor1D, eps: number): tf.Tensor2D {
  assertShape(x, [null, null], 'layerNorm: x');
  assertShape(gain, [x.shape[1]], 'layerNorm: gain');
  assertShape(bias, [x.shape[1]], 'layerNorm: bias');
  if (fusedKernels()) return fusedNorm('MinillmLayerNorm', x, [gain, bias], eps);
  return differentiable<tf.Tensor2D>(
    [x, gain, bias],
    (save) => {
      const centred = tf.sub<tf.Tensor2D>(x, meanOfRow(x));
      const inverse = tf.rsqrt(tf.add(meanOfRow(tf.square(centred)), eps)); // [N, 1]
      const normal = tf.mul<tf.Tensor2D>(centred, inverse);
      save([normal, inverse, gain]);
      return tf.add(tf.mul(normal, gain), bias);
    },
    (dy, saved) => {
      const [normal, inverse, gain] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
      const dGain = tf.mul<tf.Tensor2D>(dy, normal); // before the sum over rows
      const offset = tf.sub(tf.mul(dy, gain), meanWith(dy, gain));
      const dx = tf.mul(inverse, tf.sub(offset, tf.mul(normal, meanWith(dGain, gain))));
      return [dx, columnSums(dGain), columnSums(dy)];
    },
  );
}

/**
 * Root-mean-square normalisation of each row: y = gain · x / sqrt(mean x² + eps) (Zhang and Sennrich, arXiv 1910.07467, eq. 4).
 *
 * @param x [N, D] @param gain [D]
 * @returns [N, D], differentiable in x and gain
 * @throws UsageError if the shapes do not fit
 */
export function rmsNorm(x: tf.Tensor2D, gain: tf.Tensor1D, eps: number): tf.Tensor2D {
  assertShape(x, [null, null], 'rmsNorm: x');
  assertShape(gain, [x.shape[1]], 'rmsNorm: gain');
  if (fusedKernels()) return fusedNorm('MinillmRmsNorm', x, [gain], eps);
  return differentiable<tf.Tensor2D>(
    [x, gain],
    (save) => {
      const inverse = tf.rsqrt(tf.add(meanOfRow(tf.square(x)), eps)); // [N, 1]
      const normal = tf.mul<tf.Tensor2D>(x, inverse);
      save([normal, inverse, gain]);
      return tf.mul(normal, gain);
    },
    (dy, saved) => {
      const [normal, inverse, gain] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
      const dGain = tf.mul<tf.Tensor2D>(dy, normal); // before the sum over rows
      const dx = tf.mul(inverse, tf.sub(tf.mul(dy, gain), tf.mul(normal, meanWith(dGain, gain))));
      return [dx, columnSums(dGain)];
    },
  );
}

/** Either norm by one kernel each way; kept for the backward pass are x and the statistics of its rows. */
function fusedNorm(name: NormKernel, x: tf.Tensor2D, weights: tf.Tensor1D[], eps: number): tf.Tensor2D {
  return differentiable<tf.Tensor2D>(
    [x, ...weights],
    (save) => {
      const [y, stats] = normKernel(name, x, weights, eps);
      save([x, weights[0]!, stats]);
      return y;
    },
    (dy, [x, gain, stats]) => normGradient(name, dy, [x as tf.Tensor2D, gain as tf.Tensor1D, stats!]),
  );
}

type NormKernel = 'MinillmLayerNorm' | 'MinillmRmsNorm';

/** A norm by its kernel alone: the result, and the statistics of the rows that its gradient needs. */
export function normKernel(
  name: NormKernel,
  x: tf.Tensor2D,
  weights: tf.Tensor1D[],
  eps: number,
): [y: tf.Tensor2D, stats: tf.Tensor] {
  return raw.runAll(name, [raw.attr.float('eps', eps)], [x, ...weights], 2) as [tf.Tensor2D, tf.Tensor];
}

/**
 * The gradients of a norm for x and its weights, by the kernel.
 *
 * @param residual the gradient that reaches x on other ways: it is added to that of x in the same pass
 */
export function normGradient(
  name: NormKernel,
  dy: tf.Tensor2D,
  [x, gain, stats]: [x: tf.Tensor2D, gain: tf.Tensor1D, stats: tf.Tensor],
  residual?: tf.Tensor2D,
): [dx: tf.Tensor2D, ...dWeights: tf.Tensor[]] {
  const attrs = [raw.attr.flag('has_residual', residual)];
  const inputs = [dy, x, gain, stats, residual ?? dy];
  const results = name === 'MinillmLayerNorm' ? 3 : 2;
  return raw.runAll(`${name}Grad`, attrs, inputs, results) as [tf.Tensor2D, ...tf.Tensor[]];
}
