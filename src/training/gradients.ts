import * as tf from '@tensorflow/tfjs-core';
import { oneShard, type Shards } from '../cluster/shards.js';
import { addGradients } from '../optim/accumulate.js';
import { mapParams } from '../optim/transform.js';
import { type Pieces, whole } from '../pieces.js';
import { type Params, valueAndGrads } from '../tensor/params.js';
import { GradientTree } from './gradientTree.js';
import type { MicroBatch } from './method.js';

/**
 * Losses and gradients of the micro-batches of one optimizer step, added up: within a shard one after the other, over the shards (and
 * ranks) as `GradientTree` does. The caller owns the gradients.
 */
export function batchGradients(...given: Parameters<typeof gradientPieces>): BatchGradients {
  return whole(gradientPieces(...given));
}

interface BatchGradients {
  values: Record<string, number>;
  grads: Params | undefined;
}

/** `batchGradients`, a micro-batch at a time. */
export function* gradientPieces(
  micro: readonly MicroBatch[],
  params: Params,
  shards: Shards = oneShard,
): Pieces<BatchGradients> {
  if (micro.length === 0 && shards.count === 1) return { values: {}, grads: undefined };
  const tree = new GradientTree(shards);
  const values: Record<string, number>[] = [];
  for (const shard of shards.own) {
    let grads: Params | undefined;
    const sums: Record<string, number> = {};
    for (const part of micro.filter((one) => (one.shard ?? 0) === shard)) {
      const result = lossAndGrads(part, params);
      addUp(sums, result.values);
      grads = grads ? addGradients(grads, result.grads) : result.grads;
      yield;
    }
    tree.add(grads ?? mapParams(params, (p) => tf.zerosLike(p)));
    values.push(sums);
  }
  const total: Record<string, number> = {};
  for (const sums of shards.together(values)) addUp(total, sums);
  return { values: total, grads: tree.total() };
}

function addUp(total: Record<string, number>, values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) total[name] = (total[name] ?? 0) + value;
}

function lossAndGrads(micro: MicroBatch, params: Params): { values: Record<string, number>; grads: Params } {
  const constants = micro.constants();
  const kept: Record<string, tf.Scalar> = {};
  const { value, grads } = valueAndGrads((p) => {
    const { loss, parts } = micro.loss(p, constants);
    for (const [name, part] of Object.entries(parts)) kept[name] = tf.keep(part.clone());
    return loss;
  }, params);
  const values: Record<string, number> = { loss: value.dataSync()[0]! };
  for (const [name, part] of Object.entries(kept)) values[name] = part.dataSync()[0]!;
  tf.dispose([value, ...Object.values(kept), ...constants]);
  return { values, grads };
}
