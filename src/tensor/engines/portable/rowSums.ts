import * as tf from '@tensorflow/tfjs-core';
import { memoryOf } from './memory.js';

/** Numbers that the sum of a WebAssembly kernel may run over; it adds in float32, one after the other. */
const FEW = 4096;

/**
 * The sum of each row of [N, V], [N, 1].
 *
 * WebAssembly's own sum of 50,000 probabilities is wrong by 4e-5, of 150,000 by 2e-4. Wide rows are therefore added up here,
 * in float64; TensorFlow adds in pieces, and plain JavaScript in float64.
 */
export function rowSums(x: tf.Tensor2D): tf.Tensor2D {
  const [rows, width] = x.shape;
  if (tf.getBackend() !== 'wasm' || width <= FEW) return tf.sum(x, 1, true);
  const values = memoryOf(x);
  const sums = Float32Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) sum += values[i]!;
    return sum;
  });
  return tf.tensor2d(sums, [rows, 1]);
}
