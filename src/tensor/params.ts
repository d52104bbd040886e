import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { reverse } from './tape.js';

/** Tensors by name: the parameters of a model, their gradients, or one moment of an optimizer. */
export type Params = Record<string, tf.Tensor>;

/**
 * The value of a scalar function of named tensors, and its gradient for every name (zeros where the function
 * does not depend on the tensor).
 *
 * The tape belongs to this call: only `params` are differentiated, never a teacher that happens to be used.
 * `value` and `grads` belong to the caller (dispose them, or call inside his tidy).
 *
 * @throws UsageError if `f` does not return one number.
 */
export function valueAndGrads(
  f: (params: Params) => tf.Scalar,
  params: Params,
): { value: tf.Scalar; grads: Params } {
  const names = Object.keys(params);
  const inputs = names.map((name) => params[name]!);
  const run = () => {
    const value = f(params);
    if (!(value instanceof tf.Tensor) || value.size !== 1 || value.rank !== 0) {
      throw new UsageError('valueAndGrads: the function must return a scalar tensor');
    }
    return value;
  };
  const { value, grads } = reverse(run, inputs);
  const byName: Params = {};
  names.forEach((name, i) => {
    byName[name] = grads[i] ?? tf.zerosLike(inputs[i]!);
  });
  return { value, grads: byName };
}

/** Disposes every tensor of the record. The caller must own them. */
export function disposeParams(params: Params): void {
  for (const tensor of Object.values(params)) tensor.dispose();
}
