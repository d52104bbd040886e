import type * as tf from '@tensorflow/tfjs-core';
import { shapeOf } from '../halves.js';
import { kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import { differentiable } from './custom.js';
import { inputGradient, linear, weightGradients } from './linear.js';

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
 * The GELU and its slope may be computed while the product is stored, without a pass over memory of their own. Composed from
 * `linear` and `gelu` it is its own reference.
 *
 * @param x [N, D] @param residual [N, D]
 * @returns [N, D], differentiable in all arguments
 * @throws UsageError if the shapes do not fit
 */
export function geluMlp(x: tf.Tensor2D, weights: MlpWeights, residual: tf.Tensor2D): tf.Tensor2D {
  const { inWeight, inBias, outWeight, outBias } = weights;
  const [width, inner] = shapeOf(inWeight) as [number, number];
  assertShape(x, [null, width], 'geluMlp: x');
  assertShape(inBias, [inner], 'geluMlp: inBias');
  assertShape(outWeight, [inner, null], 'geluMlp: outWeight');
  return differentiable<tf.Tensor2D>(
    [x, inWeight, inBias, outWeight, outBias, residual],
    (save, taped) => {
      const [h, slope] = kernels().linearGelu(x, inWeight, inBias, taped);
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
      const du = kernels().geluLinearGrad(dy, outWeight, slope);
      return [
        inputGradient(du, inWeight),
        ...weightGradients(x, du, { weight: weights.inWeight, bias: inBias }),
        ...weightGradients(h, dy, { weight: weights.outWeight, bias: outBias }),
        dy,
      ];
    },
  );
}
