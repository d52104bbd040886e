import * as tf from '@tensorflow/tfjs-core';
import { trains } from './frozen.js';
import { differentiable } from './ops/custom.js';
import type { Params } from './params.js';
import { reverse } from './tape.js';

/**
 * y = f(x, params, constants), whose inside is not kept for the backward pass: gradient checkpointing (Chen et al.,
 * arXiv 1604.06174). Kept are x and the constants. The backward pass runs f again under a tape of its own and walks that back
 * from dy. They are the same operations in the same order, so value and gradients are those of f itself, bit for bit; the
 * price is a second forward pass.
 *
 * @param f reads no tensors but its arguments: others may be gone when it runs again
 * @param params outlive the backward pass, as those of a model do; saving them would copy them on wasm
 * @returns y, differentiable in x and params; no gradient reaches the constants
 */
export function recomputed<T extends tf.Tensor>(
  f: (x: T, params: Params, constants: tf.Tensor[]) => T,
  x: T,
  params: Params,
  constants: tf.Tensor[],
): T {
  const weights = Object.values(params).filter(trains);
  return differentiable<T>(
    [x, ...weights],
    (save) => {
      save([x, ...constants]);
      return f(x, params, constants);
    },
    (dy, [kept, ...constants]) => {
      const inputs = [kept!, ...weights];
      const { grads } = reverse(() => f(kept as T, params, constants), inputs, dy);
      return grads.map((grad, i) => grad ?? tf.zerosLike(inputs[i]!));
    },
  );
}
