import { advantages, type SampledBatch } from '../objectives/advantages.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { type RatioName, ratios, surrogateSlope } from '../objectives/surrogate.js';
import type { Enumeration, Sequence } from './enumeration.js';
import { addGradient, type Gradient } from './space.js';

/** What a critic says of actions, for a baseline that asks. */
export interface ActionCritic {
  /** D(s_t, y_t) of every sequence and token. */
  drawn: readonly ArrayLike<number>[];
  /** What the exact D is multiplied by. */
  scale: number;
  /** β where G_t lacks r_t, else 0: D is then the exact cost, sign reversed, less this times the reward of the action. */
  withoutReward: number;
}

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
 * and whitening come from src/objectives, the very code that training runs. With a baseline of actions A_t is less D(s_t,y_t), and
 * −Σ_a ∇q(a|s_t) D(s_t,a) comes in addition, which is scale · (that of the cost − β ∇KL_t, the latter where G lacks r_t).
 */
export function gradientsOf(
  sequences: readonly Sequence[],
  batch: SampledBatch,
  config: ObjectiveConfig,
  actions?: ActionCritic,
): SampledGradient[] {
  const first = advantages(batch, config);
  // An average over many large batches of an unchanged student is the mean of any of them.
  const signals = first.ema ? advantages({ ...batch, ema: first.ema }, config) : first;
  return sequences.map(({ prompt, tokens, states }, row) => {
    const w = signals.pgWeights[row]!;
    const klWeights = signals.klWeights[row]!;
    const kl = config.single_step ? klWeights : new Float64Array(klWeights.length);
    const cost = actions && signals.stateWeights[row]!.map((x) => x * actions.scale);
    return {
      probability: batch.probabilities ? batch.probabilities[row]! : 1 / sequences.length,
      prompt,
      tokens,
      states,
      kl: cost ? kl.map((x, t) => x - cost[t]! * actions.withoutReward) : kl,
      slope: spread(
        signals.advantages[row]!.map((a, t) =>
          surrogateSlope(a - (actions ? actions.drawn[row]![t]! : 0), w[t]!, config.cliprange),
        ),
        config.ratio,
      ),
      ...(cost && { cost }),
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
