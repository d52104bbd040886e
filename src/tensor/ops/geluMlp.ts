import type * as tf from '@tensorflow/tfjs-core';
import { fusedKernels } from '../backend.js';
import { assertShape } from '../shape.js';
import { gelu } from './activations.js';
import { differentiable } from './custom.js';
import { inputGradient, linear, weightGradients } from './linear.js';
import * as raw from './raw.js';

/** The two maps of a feed-forward block: `in` widens, `out` writes to the residual stream. Weights [I, O], biases [O]. */
export interface MlpWeights {
  inWeight: tf.Tensor2D;
  inBias: tf.Tensor1D;
  outWeight: tf.Tensor2D;
  outBias: tf.Tensor1D;
}

/**
 * The feed-forward block of GPT-2 with its residual: y = residual + gelu(x w₁ + b₁) w₂ + b₂, gelu as in activations.ts.
 *
 * The GELU and its slope are computed while the product is stored: neither is a pass over memory of its own. Without
 * our kernels it is composed from `linear` and `gelu`, which is also its reference.
 *
 * @param x [N, D] @param residual [N, D]
 * @returns [N, D], differentiable in all arguments
 * @throws UsageError if the shapes do not fit
 */
export function geluMlp(x: tf.Tensor2D, weights: MlpWeights, residual: tf.Tensor2D): tf.Tensor2D {
  const { inWeight, inBias, outWeight, outBias } = weights;
  if (!fusedKernels()) return linear(gelu(linear(x, inWeight, inBias)), outWeight, outBias, residual);
  const [width, inner] = inWeight.shape;
  assertShape(x, [null, width], 'geluMlp: x');
  assertShape(inBias, [inner], 'geluMlp: inBias');
  assertShape(outWeight, [inner, null], 'geluMlp: outWeight');
  return differentiable<tf.Tensor2D>(
    [x, inWeight, inBias, outWeight, outBias, residual],
    (save, taped) => {
      const [h, slope] = linearGelu(x, inWeight, inBias, taped);
      save([x, inWeight, outWeight, h, slope]);
      return linear(h, outWeight, outBias, residual);
    },
    (dy, saved) => {
      const [x, inWeight, outWeight, h, slope] = saved as [
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor2D,
      ];
      const du = geluLinearGradient(dy, outWeight, slope);
      return [
        inputGradient(du, inWeight),
        ...weightGradients(x, du, true),
        ...weightGradients(h, dy, true),
        dy,
      ];
    },
  );
}

/** gelu(x w + b) by its kernel alone, and the slope of the GELU there: empty if no backward pass will ask for it. */
export function linearGelu(
  x: tf.Tensor2D,
  w: tf.Tensor2D,
  b: tf.Tensor1D,
  withSlope: boolean,
): [h: tf.Tensor2D, slope: tf.Tensor2D] {
  return raw.runAll('MinillmLinearGelu', [raw.attr.flag('with_slope', withSlope)], [x, w, b], 2) as [
    tf.Tensor2D,
    tf.Tensor2D,
  ];
}

/** The gradient of gelu(u) w for u, given the slope of the GELU at u: (dy wᵀ) · slope. */
export function geluLinearGradient(dy: tf.Tensor2D, w: tf.Tensor2D, slope: tf.Tensor2D): tf.Tensor2D {
  return raw.run('MinillmGeluLinearGrad', [], [dy, w, slope]);
}
