import * as tf from '@tensorflow/tfjs-core';
import { type DivergenceName, divergences } from '../objectives/divergences.js';
import { type Softening, softened } from '../objectives/softening.js';
import type { TrainConfig } from './config.js';
import type { ResponseLoss } from './supervised.js';

/**
 * The token mean over the whole optimizer batch of a divergence from the teacher, Σ_n D(p_T, q_T)_n / tokens, at the temperature
 * and with the scale of the configuration (`kdScales`).
 *
 * @param parameter β or λ of the divergence
 */
export function divergenceLoss(
  name: DivergenceName,
  { train }: TrainConfig,
  parameter?: number,
): ResponseLoss {
  const softening = softeningOf(train);
  return (logits, _, [teacher], { tokens }) => {
    const perToken = softened(softening, logits, teacher!, (q, p) =>
      divergences[name].perToken(q, p, parameter),
    );
    return { loss: tf.div(tf.sum(perToken), tokens), parts: {} };
  };
}

export function softeningOf({ kd_temperature, kd_scale }: TrainConfig['train']): Softening {
  return { temperature: kd_temperature, scale: kd_scale };
}
