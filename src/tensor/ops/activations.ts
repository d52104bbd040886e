import * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';

/**
 * GELU, tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415, section 2; `gelu_new` of GPT-2):
 * y = 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))).
 *
 * @param x [N, D] @returns [N, D], differentiable
 */
export function gelu(x: tf.Tensor2D): tf.Tensor2D {
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      save([x]);
      return kernels().gelu(x);
    },
    (dy, saved) => [kernels().geluGrad(dy, saved[0] as tf.Tensor2D)],
  );
}

/**
 * GELU itself (Hendrycks and Gimpel, arXiv 1606.08415, eq. 1; `gelu` of `transformers`): y = x Φ(x), Φ the normal distribution
 * function, (1 + erf(x / √2)) / 2. Composed on every backend: few checkpoints use it.
 *
 * @param x [N, D] @returns [N, D], differentiable
 */
export function exactGelu(x: tf.Tensor2D): tf.Tensor2D {
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      const below = tf.mul<tf.Tensor2D>(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5); // Φ(x)
      save([x, below]);
      return tf.mul(x, below);
    },
    (dy, saved) => {
      const [x, below] = saved as [tf.Tensor2D, tf.Tensor2D];
      const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return [tf.mul(dy, tf.add(below, tf.mul(x, density)))];
    },
  );
}

/**
 * Gated activation of LLaMA: y = silu(gate) · up, silu(z) = z sigmoid(z) (Shazeer, arXiv 2002.05202, eq. 5 without the projections).
 *
 * @param gate [N, F] @param up [N, F] @returns [N, F], differentiable in both
 * @throws UsageError if the shapes differ
 */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  assertShape(up, gate.shape, 'swiglu: up');
  return differentiable<tf.Tensor2D>(
    [gate, up],
    (save) => {
      save([gate, up]);
      return kernels().swiglu(gate, up);
    },
    (dy, saved) => {
      const [gate, up] = saved as [tf.Tensor2D, tf.Tensor2D];
      return kernels().swigluGrad(dy, gate, up);
    },
  );
}
