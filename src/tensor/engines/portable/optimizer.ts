import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';

export const optimizer: Pick<Kernels, 'squaredNorm' | 'addScaled' | 'adamW'> = {
  squaredNorm: (xs) => tf.tidy(() => tf.addN(xs.map((x) => tf.sum(tf.square(x))))),
  addScaled: (totals, xs, weight) =>
    xs.map((x, i) => tf.tidy(() => tf.add(totals[i]!, weight === 1 ? x : tf.mul(x, weight)))),
  adamW({ params, first, second }, grads, numbers) {
    const { decay, gradScale, stepSize, beta1, beta2, epsilon } = numbers;
    const next = { params: [] as tf.Tensor[], first: [] as tf.Tensor[], second: [] as tf.Tensor[] };
    const average = (old: tf.Tensor, x: tf.Tensor, beta: number) =>
      tf.add(old, tf.mul(tf.sub(x, old), 1 - beta));
    grads.forEach((given, i) => {
      const [p, m, v] = tf.tidy(() => {
        const g = gradScale === 1 ? given : tf.mul(given, gradScale);
        const m = average(first[i]!, g, beta1);
        const v = average(second[i]!, tf.square(g), beta2);
        const step = tf.mul(tf.div(m, tf.add(tf.sqrt(v), epsilon)), stepSize);
        const old = params[i]!;
        const kept = decay[i] === 0 ? old : tf.sub(old, tf.mul(old, decay[i]!));
        return [tf.sub(kept, step), m, v] as [tf.Tensor, tf.Tensor, tf.Tensor];
      });
      next.params.push(p);
      next.first.push(m);
      next.second.push(v);
    });
    tf.dispose([params, first, second]);
    return next;
  },
};
