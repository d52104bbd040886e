import type * as tf from '@tensorflow/tfjs-core';
import { assertShape } from '../shape.js';
import type { AttentionDims } from './attention.js';

/** A map [I, O], with its bias [O] if it has one. */
export interface AffineWeights {
  weight: tf.Tensor2D;
  bias?: tf.Tensor1D;
}

/** A LayerNorm, or without a bias an RMSNorm; [D] each. */
export interface NormWeights {
  gain: tf.Tensor1D;
  bias?: tf.Tensor1D;
}

/** A pre-norm block: x + out(attention(norm(x))), then y + down(act(norm(y))). */
export interface BlockWeights {
  attentionNorm: NormWeights;
  /** One map for queries, keys and values side by side, or one each. */
  attention: [AffineWeights] | [AffineWeights, AffineWeights, AffineWeights];
  /** Gains of the norms of each head's query and key. */
  headNorms?: [tf.Tensor1D, tf.Tensor1D];
  out: AffineWeights;
  mlpNorm: NormWeights;
  up: AffineWeights;
  /** With a gate act is silu(gate) · up, without one GELU. */
  gate?: AffineWeights;
  down: AffineWeights;
}

/** The tensors of a map or a norm, the bias last if there is one. */
export const tensorsOf = (part: AffineWeights | NormWeights): tf.Tensor[] => [
  'gain' in part ? part.gain : part.weight,
  ...(part.bias ? [part.bias] : []),
];

/** @throws UsageError, its message beginning with `where`, if x [B·T, D] or a weight does not fit the others */
export function assertBlock(
  x: tf.Tensor2D,
  { attentionNorm, attention, out, mlpNorm, up, gate, down }: BlockWeights,
  { batch, length, heads, kvHeads, headDim }: AttentionDims,
  where: string,
): void {
  assertShape(x, [batch * length, null], `${where}: x`);
  const [width, inner] = [x.shape[1], up.weight.shape[1]];
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  for (const { gain, bias } of [attentionNorm, mlpNorm]) {
    assertShape(gain, [width], `${where}: gain`);
    if (bias) assertShape(bias, [width], `${where}: bias`);
  }
  const inward = attention.length === 1 ? [queries + 2 * keys] : [queries, keys, keys];
  const maps: [map: AffineWeights, from: number, to: number][] = [
    ...attention.map((map, i): [AffineWeights, number, number] => [map, width, inward[i]!]),
    [out, queries, width],
    ...[up, ...(gate ? [gate] : [])].map((map): [AffineWeights, number, number] => [map, width, inner]),
    [down, inner, width],
  ];
  for (const [{ weight, bias }, from, to] of maps) {
    assertShape(weight, [from, to], `${where}: weight`);
    if (bias) assertShape(bias, [to], `${where}: bias`);
  }
}
