import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels, native } from '../backend.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import * as raw from './raw.js';

/**
 * Rotary position embedding (Su et al., arXiv 2104.09864, eq. 34) in the half-split layout of Hugging Face's LLaMA:
 * within each head the pair (x[i], x[i + Dh/2]) is turned by the angle of row n, frequency i.
 *
 * @param x [N, H·Dh] @param cos [N, Dh/2] @param sin [N, Dh/2] @param heads H
 * @returns [N, H·Dh], differentiable in x only
 * @throws UsageError if the shapes do not fit
 */
export function rotary(x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, heads: number): tf.Tensor2D {
  assertShape(x, [null, null], 'rotary: x');
  const [rows, width] = x.shape;
  const half = width / heads / 2;
  assertShape(cos, [rows, half], 'rotary: cos');
  assertShape(sin, [rows, half], 'rotary: sin');
  if (fusedKernels()) {
    return differentiable<tf.Tensor2D>(
      [x],
      (save) => {
        save([cos, sin]);
        return rotaryKernel(x, [cos, sin], heads, 1);
      },
      (dy, angles) => [rotaryKernel(dy, angles, heads, -1)],
    );
  }
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      save([cos, sin]);
      return turn(x, cos, sin, heads);
    },
    // The inverse of a rotation is its transpose: turn back.
    (dy, [cos, sin]) => [turn(dy, cos as tf.Tensor2D, tf.neg(sin as tf.Tensor2D), heads)],
  );
}

/** `rotary` by its kernel alone. @param sign −1 turns back */
export function rotaryKernel(x: tf.Tensor2D, angles: tf.Tensor[], heads: number, sign: 1 | -1): tf.Tensor2D {
  return raw.run('MinillmRotary', [raw.attr.int('heads', heads), raw.attr.int('sign', sign)], [x, ...angles]);
}

/** x cos + swap(x) [−sin, sin], where swap exchanges the halves of every head. */
function turn(x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, heads: number): tf.Tensor2D {
  const [rows, half] = cos.shape;
  const pairs = tf.reshape<tf.Rank.R4>(x, [rows, heads, 2, half]);
  const signed = tf.reshape(tf.concat([tf.neg(sin), sin], 1), [rows, 1, 2, half]);
  const along = tf.mul(pairs, tf.reshape(cos, [rows, 1, 1, half]));
  // On wasm a reversal is five times slower than taking apart and putting together.
  const swapped = native() ? tf.reverse(pairs, 2) : tf.stack(tf.unstack(pairs, 2).reverse(), 2);
  const across = tf.mul(swapped, signed);
  return tf.reshape(tf.add(along, across), [rows, heads * 2 * half]);
}
