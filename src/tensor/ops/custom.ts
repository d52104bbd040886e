import * as tf from '@tensorflow/tfjs-core';
import { recording } from '../tape.js';

/**
 * One operation with a hand-written gradient: the typed face of `tf.customGrad`.
 *
 * `forward` must `save` every tensor that `backward` uses, inputs and constants included: TensorFlow.js disposes
 * whatever the differentiated function created before the backward pass begins. `backward` returns one gradient
 * for each of `inputs`, in order. `taped` says whether there will be one: else what only it needs may be left out.
 */
export function differentiable<T extends tf.Tensor>(
  inputs: tf.Tensor[],
  forward: (save: (tensors: tf.Tensor[]) => void, taped: boolean) => T,
  backward: (dy: T, saved: tf.Tensor[]) => tf.Tensor[],
): T {
  const taped = recording(); // not known inside, where TensorFlow.js has the tape off
  const op = tf.customGrad((...args) => {
    const save = args[args.length - 1] as (tensors: tf.Tensor[]) => void;
    // Without a tidy of its own every temporary of every backward step would live until the whole pass is over.
    return { value: forward(save, taped), gradFunc: (dy: T, saved) => tf.tidy(() => backward(dy, saved)) };
  });
  return op(...inputs) as T;
}
