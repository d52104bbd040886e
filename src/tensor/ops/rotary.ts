import type * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';

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
  return differentiable<tf.Tensor2D>(
    [x],
    (save) => {
      save([cos, sin]);
      return kernels().rotary(x, [cos, sin], heads, 1);
    },
    // The inverse of a rotation is its transpose: turn back.
    (dy, angles) => [kernels().rotary(dy, angles as [tf.Tensor2D, tf.Tensor2D], heads, -1)],
  );
}
