import * as tf from '@tensorflow/tfjs-core';
import type { Schedule } from './schedules.js';
import { type GradientTransformation, mapParams } from './transform.js';

/** Whether a parameter is decayed. */
export type DecayMask = (name: string, tensor: tf.Tensor) => boolean;

/** Matrices are decayed, vectors (norm gains and biases) are not. */
export const decayMatricesOnly: DecayMask = (_, tensor) => tensor.rank > 1;

/** Adds rate · parameter to the update: decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2), if placed after Adam and before the learning rate. */
export function addDecayedWeights(
  rate: number,
  mask: DecayMask = decayMatricesOnly,
): GradientTransformation<Record<string, never>> {
  return {
    init: () => ({}),
    update: (updates, state, params) => {
      const decayed = (u: tf.Tensor, name: string) => {
        const p = params[name]!;
        return rate !== 0 && mask(name, p) ? tf.add(u, tf.mul(p, rate)) : u;
      };
      return [mapParams(updates, decayed), state];
    },
  };
}

export type LearningRateState = {
  /** Updates done. */
  count: number;
  /** The rate used at the last update; 0 before the first. */
  rate: number;
};

/** Multiplies by minus the scheduled learning rate: gradients become a step downhill. */
export function scaleByLearningRate(schedule: Schedule): GradientTransformation<LearningRateState> {
  return {
    init: () => ({ count: 0, rate: 0 }),
    update(updates, { count }) {
      const rate = schedule(count);
      return [mapParams(updates, (u) => tf.mul(u, -rate)), { count: count + 1, rate }];
    },
  };
}
