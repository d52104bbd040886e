import * as tf from '@tensorflow/tfjs-core';
import { type DivergenceName, divergences } from '../../src/objectives/divergences.js';
import { adamw } from '../../src/optim/adamw.js';
import { schedules } from '../../src/optim/schedules.js';
import { disposeState } from '../../src/optim/state.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';

export interface Component {
  weight: number;
  mean: number;
  deviation: number;
}

export interface Fit {
  mean: number;
  deviation: number;
  /** The divergence that was minimised, where it ended; nats. */
  value: number;
}

/** Points of the support; a distribution over them is one over a vocabulary of so many tokens. */
export function supportPoints({ from, to, points }: { from: number; to: number; points: number }): number[] {
  return Array.from({ length: points }, (_, i) => from + (i * (to - from)) / (points - 1));
}

/** Σ_i w_i N(x; m_i, s_i), normalised over the support. */
export function mixtureProbabilities(support: readonly number[], mixture: readonly Component[]): number[] {
  const density = support.map((x) =>
    mixture.reduce(
      (sum, { weight, mean, deviation }) =>
        sum + (weight / deviation) * Math.exp(-(((x - mean) / deviation) ** 2) / 2),
      0,
    ),
  );
  const total = density.reduce((sum, p) => sum + p, 0);
  return density.map((p) => p / total);
}

/**
 * Fits q(x) ∝ exp(−(x − m)²/2s²) to p over the support by one of the objectives that train language models here: p's
 * logits are the teacher's, q's are the student's, m and ln s are its parameters.
 */
export function fitGaussian(
  support: readonly number[],
  probabilities: readonly number[],
  divergence: DivergenceName,
  options: { start: number; steps: number; lr: number },
): Fit {
  const x = tf.tensor1d([...support]);
  const teacher = tf.tensor2d([probabilities.map((p) => Math.log(p))]);
  const { steps, lr } = options;
  const optimizer = adamw({ learningRate: schedules.cosine({ peak: lr, warmup: 0, steps, floor: 0 }) });
  let params: Params = { mean: tf.scalar(options.start), logDeviation: tf.scalar(0) };
  let state = optimizer.init(params);
  const loss = (p: Params): tf.Scalar => {
    const z = tf.mul(tf.sub(x, p.mean!), tf.exp(tf.neg(p.logDeviation!)));
    const student = tf.reshape(tf.mul(tf.square(z), -0.5), [1, support.length]) as tf.Tensor2D;
    return tf.sum(divergences[divergence].perToken(student, teacher)) as tf.Scalar;
  };
  let value = Number.NaN;
  for (let step = 0; step < steps; step++) {
    const found = valueAndGrads(loss, params);
    value = found.value.dataSync()[0]!;
    const next = optimizer.step(found.grads, state, params);
    found.value.dispose();
    disposeParams(found.grads);
    params = next.params;
    state = next.state;
  }
  const fit = {
    mean: params.mean!.dataSync()[0]!,
    deviation: Math.exp(params.logDeviation!.dataSync()[0]!),
    value,
  };
  disposeParams(params);
  disposeState(state);
  tf.dispose([x, teacher]);
  return fit;
}
