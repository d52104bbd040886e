import * as tf from '@tensorflow/tfjs-core';
import { type DivergenceName, divergences } from '../objectives/divergences.js';
import type { ResponseLoss } from './supervised.js';

/**
 * The token mean over the whole optimizer batch of a divergence from the teacher, Σ_n D(p, q)_n / tokens, at temperature 1.
 *
 * @param parameter β or λ of the divergence
 */
export function divergenceLoss(name: DivergenceName, parameter?: number): ResponseLoss {
  return (logits, _, [teacher], { tokens }) => ({
    loss: tf.div(tf.sum(divergences[name].perToken(logits, teacher!, parameter)), tokens),
    parts: {},
  });
}
