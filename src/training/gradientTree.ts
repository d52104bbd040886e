import * as tf from '@tensorflow/tfjs-core';
import type { Cluster } from '../cluster/cluster.js';
import type { Shards } from '../cluster/shards.js';
import { bundles, sumOverRanks } from '../cluster/sum.js';
import { addGradients } from '../optim/accumulate.js';
import { ownAddresses } from '../tensor/ops/index.js';
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

/** Consumes the gradients. In their own memory where it can be reached, else by copies. */
function overRanks({ cluster }: Shards, grads: Params): Params {
  const tensors = Object.values(grads);
  const within = viewsOf(tensors, cluster);
  const lent = !within && lendsItsMemory();
  const numbersOf = (i: number): Float32Array => {
    if (within) return within[i]!;
    const own = tensors[i]!.dataSync<'float32'>();
    return lent ? own.slice() : own;
  };
  const read: { bundle: number[]; values: Float32Array }[] = [];
  // One bundle after the other, while those before are on their way.
  function* reading(): Generator<Float32Array> {
    for (const bundle of bundles(tensors.map(({ size }) => size))) {
      const values = bundle.length === 1 ? numbersOf(bundle[0]!) : joined(bundle.map(numbersOf));
      read.push({ bundle, values });
      yield values;
    }
  }
  sumOverRanks(cluster, reading());
  for (const { bundle, values } of read) {
    let at = 0;
    for (const i of bundle) {
      const [tensor, sum] = [tensors[i]!, values.subarray(at, at + tensors[i]!.size)];
      at += tensor.size;
      if (within && bundle.length > 1) within[i]!.set(sum);
      if (within) continue;
      tensors[i] = tf.tensor(sum, tensor.shape);
      tensor.dispose();
    }
  }
  return Object.fromEntries(Object.keys(grads).map((name, i) => [name, tensors[i]!]));
}

/** The memory of the gradients itself, where it can be reached. */
function viewsOf(tensors: tf.Tensor[], { memory }: Cluster): Float32Array[] | undefined {
  if (!memory) return undefined;
  return ownAddresses(tensors)?.map((address, i) => new Float32Array(memory(address, 4 * tensors[i]!.size)));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
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
