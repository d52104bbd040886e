import type * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';

/**
 * Layer normalisation of each row: y = gain · (x − mean x) / sqrt(var x + eps) + bias, population variance
 * (Ba et al., arXiv 1607.06450, eq. 4). Kept for the backward pass are x and the statistics of its rows.
 *
 * @param x [N, D] @param gain [D] @param bias [D]
 * @returns [N, D], differentiable in x, gain and bias
 * @throws UsageError if the shapes do not fit
 */
export function layerNorm(x: tf.Tensor2D, gain: tf.Tensor1D, bias: tf.Tensor1D, eps: number): tf.Tensor2D {
  assertShape(x, [null, null], 'layerNorm: x');
  assertShape(gain, [x.shape[1]], 'layerNorm: gain');
  assertShape(bias, [x.shape[1]], 'layerNorm: bias');
  return differentiable<tf.Tensor2D>(
    [x, gain, bias],
    (save) => {
      const [y, stats] = kernels().layerNorm(x, gain, bias, eps);
      save([x, gain, stats]);
      return y;
    },
    (dy, saved) => {
      const [x, gain, stats] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor];
      return kernels().layerNormGrad(dy, x, gain, stats);
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
  return differentiable<tf.Tensor2D>(
    [x, gain],
    (save) => {
      const [y, stats] = kernels().rmsNorm(x, gain, eps);
      save([x, gain, stats]);
      return y;
    },
    (dy, saved) => {
      const [x, gain, stats] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor];
      return kernels().rmsNormGrad(dy, x, gain, stats);
    },
  );
}
