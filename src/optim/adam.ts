import * as tf from '@tensorflow/tfjs-core';
import type { Params } from '../tensor/params.js';
import { type GradientTransformation, mapParams } from './transform.js';

export interface AdamOptions {
  beta1: number;
  beta2: number;
  eps: number;
}

export type AdamState = {
  /** Updates done. */
  count: number;
  /** Running mean of the gradient, m. */
  first: Params;
  /** Running mean of the squared gradient, v. */
  second: Params;
};

/**
 * Adam's direction (Kingma and Ba, arXiv 1412.6980, algorithm 1):
 * m ← β1 m + (1−β1) g, v ← β2 v + (1−β2) g², result = m̂ / (sqrt(v̂) + eps), m̂ = m/(1−β1ᵗ), v̂ = v/(1−β2ᵗ).
 *
 * PyTorch's convention: eps is added after the bias correction. TensorFlow's own Adam adds it before.
 * `biasCorrection` folds both corrections into two numbers.
 */
export function scaleByAdam({ beta1, beta2, eps }: AdamOptions): GradientTransformation<AdamState> {
  const zeros = (params: Params) => mapParams(params, (p) => tf.zerosLike(p));
  const average = (old: tf.Tensor, x: tf.Tensor, beta: number) =>
    tf.add(old, tf.mul(tf.sub(x, old), 1 - beta));
  return {
    init: (params) => ({ count: 0, first: zeros(params), second: zeros(params) }),
    update(updates, state) {
      const count = state.count + 1;
      const { scale, root } = biasCorrection(beta1, beta2, count);
      const first = mapParams(updates, (g, name) => average(state.first[name]!, g, beta1));
      const second = mapParams(updates, (g, name) => average(state.second[name]!, tf.square(g), beta2));
      const direction = mapParams(first, (m, name) =>
        tf.div(tf.mul(m, scale), tf.add(tf.sqrt(second[name]!), eps * root)),
      );
      return [direction, { count, first, second }];
    },
  };
}

/** With root = sqrt(1−β2ᵗ) and scale = root/(1−β1ᵗ): m̂ / (sqrt(v̂) + eps) = scale · m / (sqrt(v) + eps · root). */
export function biasCorrection(beta1: number, beta2: number, count: number): { scale: number; root: number } {
  const root = Math.sqrt(1 - beta2 ** count);
  return { scale: root / (1 - beta1 ** count), root };
}
