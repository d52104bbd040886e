import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import { gelu } from './activations.js';
import { addressable } from './memory.js';
import { onFloats } from './widened.js';

type Products = Pick<Kernels, 'matMul' | 'linearGelu' | 'geluLinearGrad' | 'weightGrads' | 'columnSums'>;

/** Products by TensorFlow.js's own `matMul`. */
export const products: Products = {
  matMul(a, b, { transposeA = false, transposeB = false, bias, residual } = {}) {
    let y = onFloats(b, (floats) => product(a, floats, transposeA, transposeB));
    if (bias) y = tf.add(y, bias);
    return residual ? tf.add(y, residual) : y;
  },
  linearGelu(x, w, b, withSlope) {
    const u = tf.add<tf.Tensor2D>(
      onFloats(w, (floats) => tf.matMul<tf.Tensor2D>(x, floats)),
      b,
    );
    const { y, slope } = gelu(u);
    return [y, withSlope ? slope() : y];
  },
  geluLinearGrad: (dy, w, slope) =>
    tf.mul(
      onFloats(w, (floats) => product(dy, floats, false, true)),
      slope,
    ),
  weightGrads: (x, dy) => [product(x, dy, true, false), columnSums(dy)],
  columnSums,
};

/** As a product with ones it runs at matrix speed on every backend; a reduction over axis 0 does not. */
export function columnSums(x: tf.Tensor2D): tf.Tensor1D {
  return tf.reshape(tf.matMul(tf.ones([1, x.shape[0]]), x), [x.shape[1]]);
}

/**
 * wasm and cpu multiply fast only what is not transposed. What is turned round is the smaller matrix: aᵀ b is (bᵀ a)ᵀ, and with
 * a gradient of logits for a the numbers to turn are D columns wide, not V.
 */
function product(a: tf.Tensor2D, b: tf.Tensor2D, transposeA: boolean, transposeB: boolean): tf.Tensor2D {
  if (!addressable()) return tf.matMul(a, b, transposeA, transposeB);
  const right: tf.Tensor2D = transposeB ? tf.transpose(b) : b;
  if (!transposeA) return tf.matMul(a, right);
  if (a.size > right.size) return tf.transpose(tf.matMul<tf.Tensor2D>(tf.transpose(right), a));
  return tf.matMul(tf.transpose(a), right);
}
