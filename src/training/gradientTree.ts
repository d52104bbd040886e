import * as tf from '@tensorflow/tfjs-core';
import type { Shards } from '../cluster/shards.js';
import { sumOverRanks } from '../cluster/sum.js';
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
  const sums: [name: string, values: Float32Array, shape: number[]][] = [];
  const lent = lendsItsMemory();
  // Read one after the other, while those before are on their way.
  function* read(): Generator<Float32Array> {
    for (const [name, grad] of Object.entries(grads)) {
      const read = grad.dataSync<'float32'>();
      const values = lent ? read.slice() : read;
      sums.push([name, values, grad.shape]);
      grad.dispose();
      yield values;
    }
  }
  sumOverRanks(cluster, read());
  return Object.fromEntries(sums.map(([name, values, shape]) => [name, tf.tensor(values, shape)]));
}

/** Whether the backend gives its own memory to read instead of a copy: what is written there would change tensors. */
function lendsItsMemory(): boolean {
  return tf.tidy(() => {
    const x = tf.add(tf.zeros([1]), 1);
    x.dataSync()[0] = 2;
    return x.dataSync()[0] === 2;
  });
}
