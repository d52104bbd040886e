import type * as tf from '@tensorflow/tfjs-core';
import { assertShape } from '../shape.js';
import { type AttentionDims, attentionGradient, attentionKernel } from './attention.js';
import { differentiable } from './custom.js';
import { inputGradient, product, weightGradients } from './linear.js';
import { normGradient, normKernel } from './norms.js';
import * as raw from './raw.js';

/** [D], [D] */
export interface NormWeights {
  gain: tf.Tensor1D;
  bias: tf.Tensor1D;
}

/** [I, O], [O] */
export interface BiasedMap {
  weight: tf.Tensor2D;
  bias: tf.Tensor1D;
}

/** The parameters of a block of GPT-2, in the order in which they are used. `qkv` makes queries, keys and values side by side. */
export interface GeluBlockWeights {
  norm1: NormWeights;
  qkv: BiasedMap;
  out: BiasedMap;
  norm2: NormWeights;
  up: BiasedMap;
  down: BiasedMap;
}

/**
 * A whole block of GPT-2 as one operation:
 *
 *     y = x + attention(norm₁(x)) W_o + b_o
 *     result = y + gelu(norm₂(y) W₁ + b₁) W₂ + b₂
 *
 * with `layerNorm`, `causalAttention` and `gelu` as they are by themselves; composed of these it is its own reference. As one
 * operation it leaves out what lies between them: the copies of q, k and v and of their gradients, the sums of the two
 * gradients that meet at x and at y, and most of what TensorFlow.js does for every operation on a tape. Only with our kernels.
 *
 * @param x [B·T, D] @param eps of both norms
 * @returns [B·T, D], differentiable in x and all weights
 * @throws UsageError if the shapes do not fit
 */
export function geluBlock(
  x: tf.Tensor2D,
  { norm1, qkv, out, norm2, up, down }: GeluBlockWeights,
  dims: AttentionDims,
  eps: number,
): tf.Tensor2D {
  const width = dims.heads * dims.headDim;
  const inner = up.bias.size;
  assertShape(x, [dims.batch * dims.length, width], 'geluBlock: x');
  for (const { gain, bias } of [norm1, norm2]) {
    assertShape(gain, [width], 'geluBlock: gain');
    assertShape(bias, [width], 'geluBlock: bias');
  }
  const maps: [map: BiasedMap, from: number, to: number][] = [
    [qkv, width, 3 * width],
    [out, width, width],
    [up, width, inner],
    [down, inner, width],
  ];
  for (const [{ weight, bias }, from, to] of maps) {
    assertShape(weight, [from, to], 'geluBlock: weight');
    assertShape(bias, [to], 'geluBlock: bias');
  }
  const weights = [norm1, qkv, out, norm2, up, down].flatMap((part) => Object.values(part) as tf.Tensor[]);
  return differentiable<tf.Tensor2D>(
    [x, ...weights],
    (save) => {
      const [n, stats1] = normKernel('MinillmLayerNorm', x, [norm1.gain, norm1.bias], eps);
      const fused = product(n, qkv.weight, qkv.bias);
      const [a, lse] = attentionKernel([fused], dims);
      const y = product(a, out.weight, out.bias, x);
      const [m, stats2] = normKernel('MinillmLayerNorm', y, [norm2.gain, norm2.bias], eps);
      const [h, slope] = raw.runAll('MinillmLinearGelu', [], [m, up.weight, up.bias], 2) as tf.Tensor2D[];
      save([
        ...[x, stats1, n, fused, a, lse, y, stats2, m, h!, slope!],
        ...[norm1.gain, qkv.weight, out.weight, norm2.gain, up.weight, down.weight],
      ]);
      return product(h!, down.weight, down.bias, y);
    },
    (dResult, saved) => {
      const [x, stats1, n, fused, a, lse, y, stats2, m, h, slope] = saved as [
        ...[x: tf.Tensor2D, stats1: tf.Tensor2D, n: tf.Tensor2D, fused: tf.Tensor2D, a: tf.Tensor2D],
        ...[lse: tf.Tensor2D, y: tf.Tensor2D, stats2: tf.Tensor2D, m: tf.Tensor2D, h: tf.Tensor2D],
        slope: tf.Tensor2D,
      ];
      const [gain1, qkv, out, gain2, up, down] = saved.slice(11) as [
        ...[gain1: tf.Tensor1D, qkv: tf.Tensor2D, out: tf.Tensor2D],
        ...[gain2: tf.Tensor1D, up: tf.Tensor2D, down: tf.Tensor2D],
      ];
      const du = raw.run<tf.Tensor2D>('MinillmGeluLinearGrad', [], [dResult, down, slope]);
      const dDown = weightGradients(h, dResult, true);
      const dUp = weightGradients(m, du, true);
      const dm = inputGradient(du, up);
      du.dispose();
      const [dy, ...dNorm2] = normGradient('MinillmLayerNorm', dm, [y, gain2, stats2], dResult);
      dm.dispose();
      const dOut = weightGradients(a, dy, true);
      const da = inputGradient(dy, out);
      const [dFused] = attentionGradient(da, { parts: [fused], o: a, lse }, dims) as [tf.Tensor2D];
      da.dispose();
      const dQkv = weightGradients(n, dFused, true);
      const dn = inputGradient(dFused, qkv);
      dFused.dispose();
      const [dx, ...dNorm1] = normGradient('MinillmLayerNorm', dn, [x, gain1, stats1], dy);
      return [dx, ...dNorm1, ...dQkv, ...dOut, ...dNorm2, ...dUp, ...dDown];
    },
  );
}
