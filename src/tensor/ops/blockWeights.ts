import type * as tf from '@tensorflow/tfjs-core';
import { shapeOf } from '../halves.js';
import type { AttentionDims } from '../kernels.js';
import { assertShape } from '../shape.js';
import type { AffineWeights, BlockWeights, NormWeights } from '../weights.js';
import { assertMap, mapTensors } from './maps.js';

/** The tensors of a map (`mapTensors`) or a norm. */
export const tensorsOf = (part: AffineWeights | NormWeights): tf.Tensor[] =>
  'gain' in part ? [part.gain, ...(part.bias ? [part.bias] : [])] : mapTensors(part);

/** @throws UsageError, its message beginning with `where`, if x [B·T, D] or a weight does not fit the others */
export function assertBlock(
  x: tf.Tensor2D,
  { attentionNorm, attention, out, mlpNorm, up, gate, down }: BlockWeights,
  { batch, length, heads, kvHeads, headDim }: AttentionDims,
  where: string,
): void {
  assertShape(x, [batch * length, null], `${where}: x`);
  const [width, inner] = [x.shape[1], shapeOf(up.weight)[1]!];
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
  for (const [map, from, to] of maps) assertMap(map, [from, to], where);
}
