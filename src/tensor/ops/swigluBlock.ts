import * as tf from '@tensorflow/tfjs-core';
import { type AttentionDims, kernels } from '../kernels.js';
import { assertShape } from '../shape.js';
import type { AffineWeights, BlockWeights } from '../weights.js';
import { assertBlock, tensorsOf } from './blockWeights.js';
import { differentiable } from './custom.js';
import { keptOfMap, mapBackward, mapForward } from './maps.js';

/** The parameters of a block of LLaMA: a map each for queries, keys and values, a gate, RMSNorms. D = H·Dh need not hold. */
export interface SwigluBlockWeights extends BlockWeights {
  attention: [q: AffineWeights, k: AffineWeights, v: AffineWeights];
  gate: AffineWeights;
}

/**
 * A whole block of LLaMA as one operation:
 *
 *     y = x + attention(norm₁(x)) W_o,  queries and keys turned by `rotary`
 *     result = y + (silu(norm₂(y) W_g) · norm₂(y) W_u) W_d
 *
 * with `rmsNorm`, `rotary`, `causalAttention` and `swiglu` as they are by themselves; composed of these it is its own
 * reference. What it leaves out is said at `geluBlock`; gradients that meet are added where a product or a norm stores its
 * own, in the order of a tape, so that the bits are the same.
 *
 * @param x [B·T, D] @param cos [B·T, Dh/2] @param sin [B·T, Dh/2] @param eps of both norms
 * @returns [B·T, D], differentiable in x and all weights
 * @throws UsageError if the shapes do not fit
 */
export function swigluBlock(
  x: tf.Tensor2D,
  weights: SwigluBlockWeights,
  [cos, sin]: [cos: tf.Tensor2D, sin: tf.Tensor2D],
  dims: AttentionDims,
  eps: number,
): tf.Tensor2D {
  for (const angle of [cos, sin])
    assertShape(angle, [dims.batch * dims.length, dims.headDim / 2], 'swigluBlock: angles');
  assertBlock(x, weights, dims, 'swigluBlock');
  const { attention, out, gate, up, down } = weights;
  const [q, k, v] = attention;
  const [gain1, gain2] = [weights.attentionNorm.gain, weights.mlpNorm.gain];
  const maps = [q, k, v, out, gate, up, down];
  return differentiable<tf.Tensor2D>(
    [x, gain1, gain2, ...maps.flatMap(tensorsOf)],
    (save) => {
      const [n, stats1] = kernels().rmsNorm(x, gain1, eps);
      const turn = (part: tf.Tensor2D, heads: number) => kernels().rotary(part, [cos, sin], heads, 1);
      const [flatQ, ofQ] = mapForward(n, q);
      const [flatK, ofK] = mapForward(n, k);
      const [partV, ofV] = mapForward(n, v);
      const parts: [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D] = [
        turn(flatQ, dims.heads),
        turn(flatK, dims.kvHeads),
        partV,
      ];
      const [a, kept] = kernels().attention(parts, dims);
      const [y, ofOut] = mapForward(a, out, x);
      const [m, stats2] = kernels().rmsNorm(y, gain2, eps);
      const [g, ofGate] = mapForward(m, gate);
      const [u, ofUp] = mapForward(m, up);
      const h = kernels().swiglu(g, u);
      const [result, ofDown] = mapForward(h, down, y);
      save([
        ...[x, stats1, n, ...parts, a, kept, y, stats2, m, g, u, h, cos, sin, gain1, gain2],
        ...[ofQ, ofK, ofV, ofOut, ofGate, ofUp, ofDown].flat(),
      ]);
      return result;
    },
    (dResult, saved) => {
      const [x, stats1, n, q, k, v, a, kept, y, stats2, m, g, u, h, cos, sin, gain1, gain2, ...all] =
        saved as Saved;
      const [ofQ, ofK, ofV, ofOut, ofGate, ofUp, ofDown] = maps.map((map) =>
        all.splice(0, keptOfMap(map)),
      ) as [
        ...[tf.Tensor2D[], tf.Tensor2D[], tf.Tensor2D[], tf.Tensor2D[]],
        ...[tf.Tensor2D[], tf.Tensor2D[], tf.Tensor2D[]],
      ];
      const [dh, dDown] = mapBackward(h, dResult, down, ofDown);
      const [dg, du] = kernels().swigluGrad(dh, g, u);
      const [dmUp, dUp] = mapBackward(m, du, up, ofUp);
      const [dm, dGate] = mapBackward(m, dg, gate, ofGate, dmUp);
      tf.dispose([dh, dg, du, dmUp]);
      const [dy, dGain2] = kernels().rmsNormGrad(dm, y, gain2, stats2, dResult);

      const [da, dOut] = mapBackward(a, dy, out, ofOut);
      const [dqTurned, dkTurned, dv] = kernels().attentionGrad(
        da,
        { parts: [q, k, v], o: a, kept },
        dims,
      ) as [...[tf.Tensor2D, tf.Tensor2D], tf.Tensor2D];
      const dq = kernels().rotary(dqTurned, [cos, sin], dims.heads, -1);
      const dk = kernels().rotary(dkTurned, [cos, sin], dims.kvHeads, -1);
      tf.dispose([dm, da, dqTurned, dkTurned]);
      const [dnK, dK] = mapBackward(n, dk, attention[1], ofK);
      const [dnQ, dQ] = mapBackward(n, dq, attention[0], ofQ, dnK);
      const [dn, dV] = mapBackward(n, dv, attention[2], ofV, dnQ);
      const [dx, dGain1] = kernels().rmsNormGrad(dn, x, gain1, stats1, dy);
      return [dx, dGain1, dGain2, ...dQ, ...dK, ...dV, ...dOut, ...dGate, ...dUp, ...dDown];
    },
  );
}

type Saved = [
  ...[x: tf.Tensor2D, stats1: tf.Tensor2D, n: tf.Tensor2D, q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D],
  ...[a: tf.Tensor2D, kept: tf.Tensor2D, y: tf.Tensor2D, stats2: tf.Tensor2D, m: tf.Tensor2D],
  ...[g: tf.Tensor2D, u: tf.Tensor2D, h: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D],
  ...[gain1: tf.Tensor1D, gain2: tf.Tensor1D],
  ...maps: tf.Tensor2D[],
];
