import * as tf from '@tensorflow/tfjs-core';
import type { Shards } from '../cluster/shards.js';
import { bundles, sumOverRanks } from '../cluster/sum.js';
import { addGradients } from '../optim/accumulate.js';
import type { Params } from '../tensor/params.js';

/**
 * The sum of the gradients of all shards as a balanced binary tree of float32 sums in the order of the shards: first those of
 * this rank, whose neighbouring shards are whole subtrees, then over the ranks. No more than one gradient for each level of the
 * tree is held.
 */
export class GradientTree {
  /** Sums that wait for their right neighbour, the largest subtree first. */
  private readonly waiting: { leaves: number; grads: Params }[] = [];

  constructor(private readonly shards: Shards) {}

  /** Takes the gradient of the next own shard. */
  add(grads: Params): void {
    let sum = { leaves: 1, grads };
    while (this.waiting.at(-1)?.leaves === sum.leaves) {
      const left = this.waiting.pop()!;
      sum = { leaves: 2 * sum.leaves, grads: addGradients(left.grads, sum.grads) };
    }
    this.waiting.push(sum);
  }

  /** After the last own shard; the same on every rank. The caller owns it. */
  total(): Params {
    const { grads } = this.waiting.pop()!;
    return this.shards.cluster.size === 1 ? grads : overRanks(this.shards, grads);
  }
}

/** Consumes the gradients. */
function overRanks({ cluster }: Shards, grads: Params): Params {
  const lent = lendsItsMemory();
  const all = Object.entries(grads);
  const read: { own: typeof all; values: Float32Array }[] = [];
  // One bundle after the other, while those before are on their way.
  function* reading(): Generator<Float32Array> {
    for (const bundle of bundles(all.map(([, { size }]) => size))) {
      const own = bundle.map((i) => all[i]!);
      const tensors = own.map(([, grad]) => grad);
      const values = numbersOf(tensors, lent);
      tf.dispose(tensors);
      read.push({ own, values });
      yield values;
    }
  }
  sumOverRanks(cluster, reading());
  const sums: Params = {};
  for (const { own, values } of read) {
    let at = 0;
    for (const [name, { size, shape }] of own) {
      sums[name] = tf.tensor(values.subarray(at, at + size), shape);
      at += size;
    }
  }
  return sums;
}

/** The numbers of tensors, one after the other, in memory of ours. */
function numbersOf(tensors: readonly tf.Tensor[], lent: boolean): Float32Array {
  if (tensors.length === 1) {
    const own = tensors[0]!.dataSync<'float32'>();
    return lent ? own.slice() : own;
  }
  const all = new Float32Array(tensors.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const tensor of tensors) {
    all.set(tensor.dataSync<'float32'>(), at);
    at += tensor.size;
  }
  return all;
}

/** Whether the backend gives its own memory to read instead of a copy: what is written there would change tensors. */
function lendsItsMemory(): boolean {
  return tf.tidy(() => {
    const x = tf.add(tf.zeros([1]), 1);
    x.dataSync()[0] = 2;
    return x.dataSync()[0] === 2;
  });
}
