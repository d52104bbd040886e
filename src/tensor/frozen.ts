import type * as tf from '@tensorflow/tfjs-core';

const frozen = new WeakSet<tf.Tensor['dataId']>();

/**
 * Marks a tensor as one that does not train: operations compute no gradient for it, whatever the tape asks of the others. The mark
 * is on its memory, so that clones and reshapes have it too.
 */
export function freeze<T extends tf.Tensor>(x: T): T {
  frozen.add(x.dataId);
  return x;
}

/** Whether a gradient of this tensor may be asked for. */
export function trains(x: tf.Tensor): boolean {
  return !frozen.has(x.dataId);
}
