import * as tf from '@tensorflow/tfjs-core';
import { shapeOf } from '../halves.js';
import { assertShape } from '../shape.js';
import type { AffineWeights } from '../weights.js';
import { differentiable, type Gradient } from './custom.js';
import { inputGradient, product, weightGradients } from './linear.js';

/**
 * Affine map: y = x w + b, plus `residual` where one is given (the residual stream that the map writes to).
 *
 * @param x [N, I] @param w [I, O] @param b [O], none if absent @param residual [N, O]
 * @returns [N, O], differentiable in all arguments
 * @throws UsageError if the shapes do not fit
 */
export function linear(x: tf.Tensor2D, w: tf.Tensor2D, b?: tf.Tensor1D, residual?: tf.Tensor2D): tf.Tensor2D {
  return affineMap(x, { weight: w, ...(b && { bias: b }) }, residual);
}

/**
 * A linear map with all that belongs to it: y = x W + b + s (x A) B, plus `residual` where one is given. The last product is that of
 * a low-rank adapter (LoRA, Hu et al., arXiv 2106.09685, eq. 3); a map without one is `linear`.
 *
 * @param x [N, I] @param residual [N, O]
 * @returns [N, O], differentiable in x, the residual and what trains of the map
 * @throws UsageError if the shapes do not fit
 */
export function affineMap(x: tf.Tensor2D, map: AffineWeights, residual?: tf.Tensor2D): tf.Tensor2D {
  const { weight } = map;
  assertShape(x, [null, null], 'linear: x');
  assertMap(map, [x.shape[1], null], 'linear');
  if (residual) assertShape(residual, [x.shape[0], shapeOf(weight)[1]!], 'linear: residual');
  return differentiable<tf.Tensor2D>(
    [x, ...mapTensors(map), ...(residual ? [residual] : [])],
    (save) => {
      const [y, kept] = mapForward(x, map, residual);
      save([x, ...kept]);
      return y;
    },
    (dy, saved) => {
      const [x, ...kept] = saved as [tf.Tensor2D, ...tf.Tensor2D[]];
      const [dx, grads] = mapBackward(x, dy, map, kept);
      return [dx, ...grads, ...(residual ? [dy] : [])];
    },
  );
}

/** The tensors of a map: weight, bias if there is one, A and B if there is an adapter. */
export const mapTensors = ({ weight, bias, lora }: AffineWeights): tf.Tensor[] => [
  weight,
  ...(bias ? [bias] : []),
  ...(lora ? [lora.a, lora.b] : []),
];

/** @param from, to sizes; null: any */
export function assertMap(
  { weight, bias, lora }: AffineWeights,
  [from, to]: readonly [from: number | null, to: number | null],
  where: string,
): void {
  assertShape(weight, [from, to], `${where}: weight`);
  const [inputs, outputs] = shapeOf(weight) as [number, number];
  if (bias) assertShape(bias, [outputs], `${where}: bias`);
  if (!lora) return;
  assertShape(lora.a, [inputs, null], `${where}: A`);
  assertShape(lora.b, [lora.a.shape[1], outputs], `${where}: B`);
}

/** How many tensors `mapForward` keeps. */
export const keptOfMap = ({ lora }: AffineWeights): number => (lora ? 4 : 1);

/**
 * The forward pass of `affineMap`, for operations that have a backward pass of their own. The product of the adapter goes where a
 * residual goes, so that there is no pass over the result beside the two products.
 *
 * @returns y, and what `mapBackward` needs beside x, to be saved
 */
export function mapForward(
  x: tf.Tensor2D,
  { weight, bias, lora }: AffineWeights,
  residual?: tf.Tensor2D,
): [y: tf.Tensor2D, kept: tf.Tensor2D[]] {
  if (!lora) return [product(x, weight, bias, residual), [weight]];
  const low = scaled(product(x, lora.a), lora.scale); // [N, r]
  const wide = product(low, lora.b, undefined, residual);
  const y = product(x, weight, bias, wide);
  wide.dispose();
  return [y, [weight, lora.a, lora.b, low]];
}

/**
 * The backward pass of `affineMap`: dx = dy Wᵀ + da Aᵀ, dA = xᵀ da, dB = s (x A)ᵀ dy, with da = s dy Bᵀ.
 *
 * @param others gradients that reach x on other ways: added
 * @returns the gradient of x, and those of `mapTensors` in their order
 */
export function mapBackward(
  x: tf.Tensor2D,
  dy: tf.Tensor2D,
  map: AffineWeights,
  kept: readonly tf.Tensor2D[],
  others?: tf.Tensor2D,
): [dx: tf.Tensor2D, grads: Gradient[]] {
  const [weight, a, b, low] = kept as [tf.Tensor2D, ...tf.Tensor2D[]];
  const own = weightGradients(x, dy, map);
  if (!map.lora) return [inputGradient(dy, weight, others), own];
  const da = scaled(inputGradient(dy, b!), map.lora.scale);
  const throughA = inputGradient(da, a!, others);
  const dx = inputGradient(dy, weight, throughA);
  throughA.dispose();
  return [
    dx,
    [...own, ...weightGradients(x, da, { weight: a! }), ...weightGradients(low!, dy, { weight: b! })],
  ];
}

/** Of a small matrix, which it consumes. */
function scaled(x: tf.Tensor2D, scale: number): tf.Tensor2D {
  if (scale === 1) return x;
  const y = tf.mul<tf.Tensor2D>(x, scale);
  x.dispose();
  return y;
}
