import * as tf from '@tensorflow/tfjs-core';
import { trains } from '../frozen.js';
import { halfOf } from '../halves.js';
import { recording } from '../tape.js';

/** The gradient of an input; none for one that is frozen. */
export type Gradient = tf.Tensor | undefined;

/**
 * One operation with a hand-written gradient: the typed face of `tf.customGrad`.
 *
 * `forward` must `save` every tensor that `backward` uses, inputs and constants included: TensorFlow.js disposes
 * whatever the differentiated function created before the backward pass begins. `backward` returns one gradient
 * for each of `inputs`, in order; those of frozen ones (tensor/frozen.ts) are not looked at and may be left out. `taped` says
 * whether there will be a backward pass: else what only it needs may be left out.
 */
export function differentiable<T extends tf.Tensor>(
  inputs: tf.Tensor[],
  forward: (save: (tensors: tf.Tensor[]) => void, taped: boolean) => T,
  backward: (dy: T, saved: tf.Tensor[]) => Gradient[],
): T {
  const taped = recording(); // not known inside, where TensorFlow.js has the tape off
  const op = tf.customGrad((...args) => {
    const saveAll = args[args.length - 1] as (tensors: tf.Tensor[]) => void;
    // 16-bit weights outlive the backward pass, as a model's do; a saved one would on wasm be a copy without its meaning.
    let inPlace: (tf.Tensor | undefined)[] = [];
    const save = (tensors: tf.Tensor[]): void => {
      inPlace = tensors.map((tensor) => (halfOf(tensor) ? tensor : undefined));
      saveAll(tensors.filter((tensor) => !halfOf(tensor)));
    };
    const restored = (saved: tf.Tensor[]): tf.Tensor[] => {
      const rest = saved.values();
      return inPlace.map((tensor) => tensor ?? (rest.next().value as tf.Tensor));
    };
    // Without a tidy of its own every temporary of every backward step would live until the whole pass is over.
    const gradFunc = (dy: T, saved: tf.Tensor[]) =>
      tf.tidy(() => backward(dy, restored(saved)).filter((_, i) => trains(inputs[i]!)) as tf.Tensor[]);
    return { value: forward(save, taped), gradFunc };
  });
  return op(...inputs.filter(trains)) as T;
}
