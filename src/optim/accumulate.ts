import * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../tensor/kernels.js';
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
  const sum = total ? sums(total, grads, weight) : mapParams(grads, (g) => tf.mul(g, weight));
  disposeParams(grads);
  if (total) disposeParams(total);
  return sum;
}

function sums(total: Params, grads: Params, weight: number): Params {
  const names = Object.keys(grads);
  if (names.length === 0) return {};
  const list = (of: Params) => names.map((name) => of[name]!);
  const added = kernels().addScaled(list(total), list(grads), weight);
  return Object.fromEntries(names.map((name, i) => [name, added[i]!]));
}
