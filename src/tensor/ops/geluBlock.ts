import type * as tf from '@tensorflow/tfjs-core';
import { type AttentionDims, kernels } from '../kernels.js';
import type { AffineWeights, BlockWeights, NormWeights } from '../weights.js';
import { assertBlock, tensorsOf } from './blockWeights.js';
import { differentiable } from './custom.js';
import { mlpBackward, mlpForward } from './geluMlp.js';
import { keptOfMap, mapBackward, mapForward } from './maps.js';

type Biased<T> = T & { bias: tf.Tensor1D };

/** The parameters of a block of GPT-2: one map for queries, keys and values, no gate, and biases everywhere. */
export interface GeluBlockWeights extends BlockWeights {
  attentionNorm: Biased<NormWeights>;
  attention: [Biased<AffineWeights>];
  out: Biased<AffineWeights>;
  mlpNorm: Biased<NormWeights>;
  up: Biased<AffineWeights>;
  down: Biased<AffineWeights>;
}

/**
 * A whole block of GPT-2 as one operation:
 *
 *     y = x + attention(norm₁(x)) W_o + b_o
 *     result = y + gelu(norm₂(y) W₁ + b₁) W₂ + b₂
 *
 * with `layerNorm`, `causalAttention` and `gelu` as they are by themselves; composed of these it is its own reference. As one
 * operation it leaves out what lies between them: the copies of q, k and v and of their gradients, the sums of the two
 * gradients that meet at x and at y, and most of what TensorFlow.js does for every operation on a tape.
 *
 * @param x [B·T, D] @param eps of both norms
 * @returns [B·T, D], differentiable in x and all weights
 * @throws UsageError if the shapes do not fit
 */
export function geluBlock(
  x: tf.Tensor2D,
  weights: GeluBlockWeights,
  dims: AttentionDims,
  eps: number,
): tf.Tensor2D {
  assertBlock(x, weights, dims, 'geluBlock');
  const { attentionNorm, attention, out, mlpNorm, up, down } = weights;
  const [qkv] = attention;
  return differentiable<tf.Tensor2D>(
    [x, ...[attentionNorm, qkv, out, mlpNorm, up, down].flatMap(tensorsOf)],
    (save, taped) => {
      const [n, stats1] = kernels().layerNorm(x, attentionNorm.gain, attentionNorm.bias, eps);
      const [fused, ofQkv] = mapForward(n, qkv);
      const [a, kept] = kernels().attention([fused], dims);
      const [y, ofOut] = mapForward(a, out, x);
      const [m, stats2] = kernels().layerNorm(y, mlpNorm.gain, mlpNorm.bias, eps);
      const [result, ofMlp] = mlpForward(m, weights, y, taped);
      save([
        ...[x, stats1, n, fused, a, kept, y, stats2, m],
        ...[attentionNorm.gain, mlpNorm.gain, ...ofQkv, ...ofOut, ...ofMlp],
      ]);
      return result;
    },
    (dResult, saved) => {
      const [x, stats1, n, fused, a, kept, y, stats2, m, gain1, gain2, ...maps] = saved as Saved;
      const [ofQkv, ofOut] = [maps.splice(0, keptOfMap(qkv)), maps.splice(0, keptOfMap(out))];
      const { dx: dm, dUp, dDown } = mlpBackward(m, dResult, weights, maps);
      const [dy, ...dMlpNorm] = kernels().layerNormGrad(dm, y, gain2, stats2, dResult);
      dm.dispose();
      const [da, dOut] = mapBackward(a, dy, out, ofOut);
      const [dFused] = kernels().attentionGrad(da, { parts: [fused], o: a, kept }, dims) as [tf.Tensor2D];
      da.dispose();
      const [dn, dQkv] = mapBackward(n, dFused, qkv, ofQkv);
      dFused.dispose();
      const [dx, ...dAttentionNorm] = kernels().layerNormGrad(dn, x, gain1, stats1, dy);
      return [dx, ...dAttentionNorm, ...dQkv, ...dOut, ...dMlpNorm, ...dUp, ...dDown];
    },
  );
}

type Saved = [
  ...[x: tf.Tensor2D, stats1: tf.Tensor2D, n: tf.Tensor2D, fused: tf.Tensor2D, a: tf.Tensor2D],
  ...[kept: tf.Tensor2D, y: tf.Tensor2D, stats2: tf.Tensor2D, m: tf.Tensor2D],
  ...[gain1: tf.Tensor1D, gain2: tf.Tensor1D, ...maps: tf.Tensor2D[]],
];
