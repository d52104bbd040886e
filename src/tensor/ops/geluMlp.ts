import type * as tf from '@tensorflow/tfjs-core';
import { shapeOf } from '../halves.js';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import type { AffineWeights } from '../weights.js';
import { differentiable, type Gradient } from './custom.js';
import { inputGradient, product, weightGradients } from './linear.js';
import { assertMap, keptOfMap, mapBackward, mapForward, mapTensors } from './maps.js';

/** The two maps of a feed-forward block: `up` widens, `down` writes to the residual stream. */
export interface GeluMlpWeights {
  up: AffineWeights & { bias: tf.Tensor1D };
  down: AffineWeights;
}

/**
 * The feed-forward block of GPT-2 with its residual: y = residual + down(gelu(up(x))), gelu as in activations.ts.
 *
 * The GELU and its slope may be computed while the product is stored, without a pass over memory of their own. Composed from
 * `affineMap` and `gelu` it is its own reference.
 *
 * @param x [N, D] @param residual [N, D]
 * @returns [N, D], differentiable in all arguments
 * @throws UsageError if the shapes do not fit
 */
export function geluMlp(x: tf.Tensor2D, weights: GeluMlpWeights, residual: tf.Tensor2D): tf.Tensor2D {
  const { up, down } = weights;
  const [width, inner] = shapeOf(up.weight) as [number, number];
  assertShape(x, [null, width], 'geluMlp: x');
  assertMap(up, [width, inner], 'geluMlp: up');
  assertMap(down, [inner, residual.shape[1]], 'geluMlp: down');
  assertShape(residual, [x.shape[0], null], 'geluMlp: residual');
  return differentiable<tf.Tensor2D>(
    [x, ...mapTensors(up), ...mapTensors(down), residual],
    (save, taped) => {
      const [y, kept] = mlpForward(x, weights, residual, taped);
      save([x, ...kept]);
      return y;
    },
    (dy, saved) => {
      const [x, ...kept] = saved as [tf.Tensor2D, ...tf.Tensor2D[]];
      const { dx, dUp, dDown } = mlpBackward(x, dy, weights, kept);
      return [dx, ...dUp, ...dDown, dy];
    },
  );
}

/**
 * The forward pass of `geluMlp`. With an adapter on one of its maps the GELU is a pass of its own: its argument is more than the
 * product that it could be part of.
 *
 * @returns y, and what `mlpBackward` needs beside x, to be saved
 */
export function mlpForward(
  x: tf.Tensor2D,
  { up, down }: GeluMlpWeights,
  residual: tf.Tensor2D,
  taped: boolean,
): [y: tf.Tensor2D, kept: tf.Tensor2D[]] {
  if (up.lora || down.lora) {
    const [u, ofUp] = mapForward(x, up);
    const h = kernels().gelu(u);
    const [y, ofDown] = mapForward(h, down, residual);
    return [y, [h, u, ...ofUp, ...ofDown]];
  }
  const [h, slope] = kernels().linearGelu(x, up.weight, up.bias, taped);
  return [product(h, down.weight, down.bias, residual), [h, slope, up.weight, down.weight]];
}

/** The gradients of x, and of the tensors of both maps. */
export function mlpBackward(
  x: tf.Tensor2D,
  dy: tf.Tensor2D,
  { up, down }: GeluMlpWeights,
  kept: readonly tf.Tensor2D[],
): { dx: tf.Tensor2D; dUp: Gradient[]; dDown: Gradient[] } {
  const [h, bend, ...maps] = kept as [tf.Tensor2D, tf.Tensor2D, ...tf.Tensor2D[]];
  if (up.lora || down.lora) {
    const [dh, dDown] = mapBackward(h, dy, down, maps.slice(keptOfMap(up)));
    const du = kernels().geluGrad(dh, bend);
    dh.dispose();
    const [dx, dUp] = mapBackward(x, du, up, maps);
    du.dispose();
    return { dx, dUp, dDown };
  }
  const [wUp, wDown] = maps as [tf.Tensor2D, tf.Tensor2D];
  const du = kernels().geluLinearGrad(dy, wDown, bend);
  const [dDown, dUp] = [weightGradients(h, dy, down), weightGradients(x, du, up)];
  const dx = inputGradient(du, wUp);
  du.dispose();
  return { dx, dUp, dDown };
}
