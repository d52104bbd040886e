import * as tf from '@tensorflow/tfjs-core';
import * as raw from '../tensor/ops/raw.js';
import type { Params } from '../tensor/params.js';
import type { FusedNumbers } from './fused.js';

/**
 * One AdamW update of all parameters by one call of our own kernel (tensor/kernels/optimizer.cc), in place: every number
 * is read and written once, and clipping is a factor on the way. The rule is that of the chain in adamw.ts; the results
 * are equal up to rounding.
 *
 * @param gradScale what gradients are multiplied by first
 * @returns the tensors that hold the new values: those that were given, or, for one whose memory another tensor shares
 *   (a clone), a copy of it, so that the other keeps its values. Consumes `params` and `moments`.
 */
export function inPlaceAdamW(
  grads: Params,
  moments: { first: Params; second: Params },
  params: Params,
  gradScale: number,
  { decay, stepSize, beta1, beta2, epsilon }: FusedNumbers,
): { params: Params; first: Params; second: Params } {
  const names = Object.keys(params);
  if (names.length === 0) return { params, ...moments };
  const next = { params: own(params), first: own(moments.first), second: own(moments.second) };
  const decays = tf.tensor1d(names.map((name) => decay(name, next.params[name]!)));
  const settings = tf.tensor1d([gradScale, stepSize, beta1, beta2, epsilon]);
  const lists = [next.params, next.first, next.second, grads].flatMap((all) =>
    names.map((name) => all[name]!),
  );
  const done = raw.run('MinillmAdamW', [raw.attr.int('N', names.length)], [...lists, decays, settings]);
  tf.dispose([decays, settings, done]);
  return next;
}

/** The same tensors, but copies of those whose memory is shared. */
function own(tensors: Params): Params {
  const { refCount } = tf.backend();
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => {
      if (refCount.call(tf.backend(), tensor.dataId) === 1) return [name, tensor];
      const copy = raw.run('DeepCopy', [raw.attr.type('T', 'float32')], [tensor]);
      tensor.dispose();
      return [name, copy];
    }),
  );
}
