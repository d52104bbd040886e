import { advantages, type SampledBatch } from '../objectives/advantages.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { type RatioName, ratios, surrogateSlope } from '../objectives/surrogate.js';
import type { Enumeration, Sequence } from './enumeration.js';
import { addGradient, type Gradient } from './space.js';

/** The gradient of one sequence as an estimator has it, and what it was made of. */
export interface SampledGradient extends Gradient {
  probability: number;
  prompt: number;
  /** w_t: with ∇ln q(y_t) it is what a baseline multiplies. */
  w: Float64Array;
  /** G_t: what other samples of the prompt use as baseline. */
  returns: Float64Array;
}

/**
 * The gradients of a batch of sequences, with the batch statistics of exactly that batch, at q_new = q_old. The slope of a
 * token is −A_t w_t, or 0 where the surrogate is clipped already (ρ = w). Rewards, returns, importance weights, baselines
 * and whitening come from src/objectives, the very code that training runs.
 */
export function gradientsOf(
  sequences: readonly Sequence[],
  batch: SampledBatch,
  config: ObjectiveConfig,
): SampledGradient[] {
  const first = advantages(batch, config);
  // An average over many large batches of an unchanged student is the mean of any of them.
  const signals = first.ema ? advantages({ ...batch, ema: first.ema }, config) : first;
  return sequences.map(({ prompt, tokens, states }, row) => {
    const w = signals.pgWeights[row]!;
    const klWeights = signals.klWeights[row]!;
    return {
      probability: batch.probabilities ? batch.probabilities[row]! : 1 / sequences.length,
      prompt,
      tokens,
      states,
      kl: config.single_step ? klWeights : new Float64Array(klWeights.length),
      slope: spread(
        signals.advantages[row]!.map((a, t) => surrogateSlope(a, w[t]!, config.cliprange)),
        config.ratio,
      ),
      w,
      returns: signals.returns[row]!,
    };
  });
}

/** The slopes of a response's ratio: s depends on every token alike. All ratios are 1 at q_new = q_old. */
function spread(slopes: Float64Array, ratio: RatioName): Float64Array {
  if (!ratios[ratio].spreads) return slopes;
  return slopes.fill(slopes.reduce((sum, x) => sum + x, 0) / slopes.length);
}

/** Σ probability · g, in the parameters. */
export function meanGradient(
  { world, space, directions }: Enumeration,
  gradients: readonly (Gradient & { probability: number })[],
): Float64Array {
  const mean = new Float64Array(world.states.length * world.vocab);
  for (const gradient of gradients) addGradient(mean, directions, gradient, gradient.probability);
  return space.pull(mean);
}
