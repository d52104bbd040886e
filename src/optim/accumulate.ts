import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels } from '../tensor/backend.js';
import * as raw from '../tensor/ops/raw.js';
import { disposeParams, type Params } from '../tensor/params.js';
import { mapParams } from './transform.js';

/**
 * total + weight · grads, for gradients that come in micro-batches. Consumes both (their tensors are disposed or
 * handed on); start with `undefined`.
 *
 * For the gradient of a mean over all N tokens of a batch, weight the gradient of each micro-batch's mean with its
 * share of the tokens, n/N. Plain averaging of micro-batch means would weight tokens of short micro-batches higher.
 */
export function addGradients(total: Params | undefined, grads: Params, weight = 1): Params {
  if (!total && weight === 1) return grads;
  const sum = tf.tidy(() => {
    if (total && fusedKernels()) return fusedSum(total, grads, weight);
    return mapParams(grads, (g, name) => {
      const scaled = weight === 1 ? g : tf.mul(g, weight);
      return total ? tf.add(total[name]!, scaled) : scaled;
    });
  });
  disposeParams(grads);
  if (total) disposeParams(total);
  return sum;
}

/** All names by one call. */
function fusedSum(total: Params, grads: Params, weight: number): Params {
  const names = Object.keys(grads);
  if (names.length === 0) return {};
  const inputs = [total, grads].flatMap((all) => names.map((name) => all[name]!));
  const attrs = [raw.attr.int('N', names.length)];
  const sums = raw.runAll('MinillmAddScaled', attrs, [...inputs, tf.scalar(weight)], names.length);
  return Object.fromEntries(names.map((name, i) => [name, sums[i]!]));
}
