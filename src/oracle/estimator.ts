import { advantages, type SampledBatch } from '../objectives/advantages.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { surrogateSlope } from '../objectives/surrogate.js';
import { dot, meanGradient, type SampledGradient, squaredNorm } from './blocks.js';
import { type Enumeration, population, type Sequence } from './enumeration.js';
import { leaveOneOutMoments } from './leaveOneOut.js';

/** Exact mean and spread of one estimator of the gradient. */
export interface Moments {
  /** E[g], flat: state · vocab + token. */
  expectation: Float64Array;
  /** Trace of the covariance of one sample's gradient; for K samples per prompt K × that of their mean. */
  variance: number;
}

/**
 * Expectation and variance of MiniLLM's gradient estimator by enumeration, at q_new = q_old.
 *
 * Rewards, returns, importance weights, baselines and whitening come from src/objectives, the very code that training
 * runs, over all sequences weighted by p̃(y): batch statistics are those of a large batch. Only `leave-one-out` needs
 * another way, because it depends on the other samples of the prompt.
 *
 * @param samples K, samples per prompt; only leave-one-out depends on it
 * @throws RangeError for leave-one-out with a clip, with whitening or with K < 2
 */
export function estimatorMoments(enumeration: Enumeration, config: ObjectiveConfig, samples = 1): Moments {
  const batch = population(enumeration, config.alpha);
  if (config.baseline === 'leave-one-out') {
    if (config.cliprange > 0 || config.whiten !== 'off') {
      throw new RangeError(
        'leave-one-out moments take no clip and no whitening: both are nonlinear in the advantage',
      );
    }
    const withoutBaseline = gradientsOf(enumeration.sequences, batch, { ...config, baseline: 'none' });
    return leaveOneOutMoments(enumeration, withoutBaseline, samples);
  }
  const gradients = gradientsOf(enumeration.sequences, batch, config);
  const expectation = meanGradient(enumeration.geometry, gradients);
  const second = gradients.reduce((sum, g) => sum + g.probability * squaredNorm(enumeration.geometry, g), 0);
  return { expectation, variance: second - dot(expectation, expectation) };
}

/**
 * The gradients of a batch of sequences, with the batch statistics of exactly that batch. The slope of a token is
 * −A_t w_t, or 0 where the surrogate is clipped already (ρ = w at q_new = q_old).
 */
export function gradientsOf(
  sequences: readonly Sequence[],
  batch: SampledBatch,
  config: ObjectiveConfig,
): SampledGradient[] {
  const signals = advantages(batch, config);
  return sequences.map(({ tokens, states }, row) => {
    const w = signals.pgWeights[row]!;
    const klWeights = signals.klWeights[row]!;
    return {
      probability: batch.probabilities ? batch.probabilities[row]! : 1 / sequences.length,
      tokens,
      states,
      kl: config.single_step ? klWeights : new Float64Array(klWeights.length),
      slope: signals.advantages[row]!.map((a, t) => surrogateSlope(a, w[t]!, config.cliprange)),
      w,
      returns: signals.returns[row]!,
    };
  });
}
