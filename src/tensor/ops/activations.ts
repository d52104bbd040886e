import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import * as raw from './raw.js';

/** dy · s · (1 − s): the gradient through s = sigmoid(·). */
function sigmoidGrad(s: tf.Tensor2D, dy: tf.Tensor2D): tf.Tensor2D {
  return native() ? raw.plain('SigmoidGrad', s, dy) : tf.mul(dy, tf.sub(s, tf.square(s)));
}

// tanh(u) = 2 sigmoid(2u) − 1, so 0.5 x (1 + tanh(u)) = x sigmoid(2u), with 2u = x (A + B x²).
const A = 2 * Math.sqrt(2 / Math.PI);
const B = A * 0.044715;

/**
 * GELU, tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415, section 2; `gelu_new` of GPT-2):
 * y = 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))).
 *
 * @param x [N, D] @returns [N, D], differentiable
 */
export function gelu(x: tf.Tensor2D): tf.Tensor2D {
  if (fusedKernels()) return fusedActivation('MinillmGelu', [x]);
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      const s = tf.sigmoid(tf.mul<tf.Tensor2D>(x, tf.add(tf.mul(tf.square(x), B), A)));
      save([x, s]);
      return tf.mul(x, s);
    },
    (dy, saved) => {
      const [x, s] = saved as [tf.Tensor2D, tf.Tensor2D];
      const inner = tf.add(tf.mul(tf.square(x), 3 * B), A); // d(2u)/dx
      return [tf.add(tf.mul(dy, s), tf.mul(sigmoidGrad(s, tf.mul(dy, x)), inner))];
    },
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
  if (fusedKernels()) return fusedActivation('MinillmSwiglu', [gate, up]);
  return differentiable<tf.Tensor2D>(
    [gate, up],
    (save) => {
      const s = tf.sigmoid(gate);
      const a = tf.mul<tf.Tensor2D>(gate, s);
      save([gate, up, s, a]);
      return tf.mul(a, up);
    },
    (dy, saved) => {
      const [gate, up, s, a] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
      // silu' = s + gate s (1 − s) = s (1 + gate − a)
      const slope = tf.mul(s, tf.add(tf.sub(gate, a), 1));
      return [tf.mul(tf.mul(dy, up), slope), tf.mul(dy, a)];
    },
  );
}

/** One kernel each way; what the slope needs is made again from the inputs. */
function fusedActivation(name: string, inputs: tf.Tensor2D[]): tf.Tensor2D {
  return differentiable<tf.Tensor2D>(
    inputs,
    (save) => {
      save(inputs);
      return raw.run(name, [], inputs);
    },
    (dy, saved) => raw.runAll(`${name}Grad`, [], [dy, ...saved], inputs.length),
  );
}
