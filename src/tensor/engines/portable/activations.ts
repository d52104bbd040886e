import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';

// tanh(u) = 2 sigmoid(2u) − 1, so 0.5 x (1 + tanh(u)) = x sigmoid(2u), with 2u = x (A + B x²).
const A = 2 * Math.sqrt(2 / Math.PI);
const B = A * 0.044715;

/** The GELU of x, and its slope there when asked. */
export function gelu(x: tf.Tensor2D): { y: tf.Tensor2D; slope: () => tf.Tensor2D } {
  const s = tf.sigmoid(tf.mul<tf.Tensor2D>(x, tf.add(tf.mul(tf.square(x), B), A)));
  const y = tf.mul<tf.Tensor2D>(x, s);
  const slope = (): tf.Tensor2D => {
    const inner = tf.add(tf.mul(tf.square(x), 3 * B), A); // d(2u)/dx
    return tf.add(s, tf.mul(tf.sub(y, tf.mul(y, s)), inner));
  };
  return { y, slope };
}

type Activations = Pick<Kernels, 'gelu' | 'geluGrad' | 'swiglu' | 'swigluGrad' | 'rotary'>;

export const activations: Activations = {
  gelu: (x) => gelu(x).y,
  geluGrad: (dy, x) => tf.mul(dy, gelu(x).slope()),
  swiglu: (gate, up) => tf.mul(tf.mul(gate, tf.sigmoid(gate)), up),
  swigluGrad(dy, gate, up) {
    const s = tf.sigmoid(gate);
    const a = tf.mul<tf.Tensor2D>(gate, s);
    // silu' = s + gate s (1 − s) = s (1 + gate − a)
    const slope = tf.mul(s, tf.add(tf.sub(gate, a), 1));
    return [tf.mul(tf.mul(dy, up), slope), tf.mul(dy, a)];
  },
  rotary: (x, [cos, sin], heads, sign) => turn(x, cos, sign === 1 ? sin : tf.neg(sin), heads),
};

/** x cos + swap(x) [−sin, sin], where swap exchanges the halves of every head. */
function turn(x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, heads: number): tf.Tensor2D {
  const [rows, half] = cos.shape;
  const pairs = tf.reshape<tf.Rank.R4>(x, [rows, heads, 2, half]);
  const signed = tf.reshape(tf.concat([tf.neg(sin), sin], 1), [rows, 1, 2, half]);
  const along = tf.mul(pairs, tf.reshape(cos, [rows, 1, 1, half]));
  // On wasm a reversal is five times slower than taking apart and putting together.
  const swapped = tf.stack(tf.unstack(pairs, 2).reverse(), 2);
  return tf.reshape(tf.add(along, tf.mul(swapped, signed)), [rows, heads * 2 * half]);
}
