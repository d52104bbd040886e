import type * as tf from '@tensorflow/tfjs-core';
import { trains } from '../frozen.js';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import type { AffineWeights } from '../weights.js';
import { differentiable, type Gradient } from './custom.js';

/** x w + b + residual; no gradient. */
export function product(
  x: tf.Tensor2D,
  w: tf.Tensor2D,
  bias?: tf.Tensor1D,
  residual?: tf.Tensor2D,
): tf.Tensor2D {
  return kernels().matMul(x, w, { bias, residual });
}

/** The gradient of x w for x: dy wᵀ. @param others gradients that reach x on other ways: added */
export function inputGradient(dy: tf.Tensor2D, w: tf.Tensor2D, others?: tf.Tensor2D): tf.Tensor2D {
  return kernels().matMul(dy, w, { transposeB: true, residual: others });
}

/** The gradients of x w + b for w, xᵀ dy, and for b if there is one, the sums of the columns of dy; only of what trains. */
export function weightGradients(
  x: tf.Tensor2D,
  dy: tf.Tensor2D,
  { weight, bias }: AffineWeights,
): Gradient[] {
  if (!trains(weight))
    return bias ? [undefined, trains(bias) ? kernels().columnSums(dy) : undefined] : [undefined];
  return bias ? kernels().weightGrads(x, dy) : [kernels().matMul(x, dy, { transposeA: true })];
}

/**
 * Output head that shares the embedding table: y = x tableᵀ.
 *
 * @param x [N, D] @param table [V, D]
 * @returns [N, V], differentiable in both arguments
 * @throws UsageError if the shapes do not fit
 */
export function unembed(x: tf.Tensor2D, table: tf.Tensor2D): tf.Tensor2D {
  assertShape(x, [null, null], 'unembed: x');
  assertShape(table, [null, x.shape[1]], 'unembed: table');
  return differentiable<tf.Tensor2D>(
    [x, table],
    (save) => {
      save([x, table]);
      return kernels().matMul(x, table, { transposeB: true });
    },
    (dy, saved) => {
      const [x, table] = saved as [tf.Tensor2D, tf.Tensor2D];
      return [kernels().matMul(dy, table), ...weightGradients(dy, x, { weight: table })];
    },
  );
}
