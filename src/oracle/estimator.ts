import { needsActions } from '../objectives/advantages.js';
import { baselines } from '../objectives/baselines.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { clipBounds, ratios } from '../objectives/surrogate.js';
import { type SamplingSchemeName, samplingSchemes } from '../rollout/uniforms.js';
import { pairLaw, type Tuple, tupleLaw } from './coupling.js';
import { type Enumeration, population } from './enumeration.js';
import { type CriticName, criticActions, critics, criticValues } from './exact.js';
import { type ActionCritic, gradientsOf, meanGradient, type SampledGradient } from './gradients.js';
import { groupNormalisedMoments } from './groupNormalised.js';
import { leaveOneOutMoments } from './leaveOneOut.js';
import { dot } from './space.js';
import { type PromptMoments, tupleMoments } from './tuples.js';

/** Exact mean and spread of one estimator of the gradient. */
export interface Moments {
  /** E[g], in the parameters. */
  expectation: Float64Array;
  /**
   * Trace of the covariance, in the parameters, of one sample's gradient; for K samples per prompt K × that of their mean.
   * The prompt is held fixed; several prompts are averaged over.
   */
  variance: number;
}

/** How the K samples of a prompt are drawn, and who says V(s) and Q(s,a). */
export interface Drawing {
  sampling: SamplingSchemeName;
  /** K. */
  samples: number;
  critic: CriticName;
}

const plainDrawing: Drawing = { sampling: 'independent', samples: 1, critic: 'exact' };

/** Judges the estimators of one world; what several of them need is computed once. */
export interface Judge {
  /**
   * Expectation and variance of MiniLLM's gradient estimator by enumeration, at q_new = q_old. Batch statistics are those of
   * a large batch, over all sequences weighted by p̃(y); a baseline that looks at the K samples of a prompt sees exactly those.
   *
   * @returns undefined when the joint law of the K samples is too large (`maxTuples`)
   * @throws RangeError for a baseline of K samples with a clip, with whitening or with K < 2
   */
  moments(config: ObjectiveConfig, drawing?: Partial<Drawing>): Moments | undefined;
  /** Mean number of tokens of a response under the mixture. */
  meanLength(alpha: number): number;
}

export function judgeOf(enumeration: Enumeration): Judge {
  const { world, sequences } = enumeration;
  const populations = memo((alpha: number) => population(enumeration, alpha));
  const values = memo((critic: CriticName, includeReward: boolean) => {
    const of = criticValues(world, critic, includeReward);
    return sequences.map(({ states }) => Float64Array.from(states, (s) => of[s]!));
  });
  const actions = memo((critic: CriticName, includeReward: boolean): ActionCritic => {
    const of = criticActions(world, critic, includeReward);
    return {
      drawn: sequences.map(({ tokens, states }) => Float64Array.from(tokens, (y, t) => of[states[t]!]![y]!)),
      scale: critics[critic].scale,
      withoutReward: includeReward ? 0 : (world.klCoef ?? 1),
    };
  });
  const laws = {
    pairs: memo((...key: [number, SamplingSchemeName, number]) => pairLaw(enumeration, ...key)),
    tuples: memo((...key: [number, SamplingSchemeName, number]) => tupleLaw(enumeration, ...key)),
  };
  // One estimator is judged under several drawings in a row.
  const gradients = lastOf((config: ObjectiveConfig, critic: CriticName) => {
    const batch = { ...populations(config.alpha), values: values(critic, config.include_r_t) };
    const ofActions = needsActions(config) ? actions(critic, config.include_r_t) : undefined;
    const all = gradientsOf(sequences, batch, config, ofActions);
    return { all, prompts: byPrompt(enumeration, all) };
  });
  const leaveOneOut = lastOf((config: ObjectiveConfig, critic: CriticName) =>
    gradients(config, critic).prompts.map((prompt) => leaveOneOutMoments(enumeration, prompt.gradients)),
  );
  return {
    moments(config, drawing) {
      const { sampling, samples, critic } = { ...plainDrawing, ...drawing };
      const law = [config.alpha, sampling, samples] as const;
      const { ofSamples } = baselines[config.baseline];
      if (!ofSamples) {
        const { prompts } = gradients(config, critic);
        const coupled = samplingSchemes[sampling].group !== 1;
        const pairs = coupled ? laws.pairs(...law) : world.roots.map(() => []);
        return (
          pairs &&
          average(prompts.map((prompt, i) => separateMoments(enumeration, prompt, pairs[i]!, samples)))
        );
      }
      if (clipBounds(config.cliprange) || config.whiten !== 'off' || ratios[config.ratio].spreads) {
        throw new RangeError(
          `${config.baseline} moments take no clip and no whitening, both nonlinear in the advantage, and no ratio sequence`,
        );
      }
      const alone: ObjectiveConfig = { ...config, baseline: 'none' };
      if (config.baseline === 'leave-one-out' && sampling === 'independent') {
        return average(leaveOneOut(alone, critic).map((moments) => moments(samples)));
      }
      const { all } = gradients(alone, critic);
      const tuples = laws.tuples(...law);
      return (
        tuples &&
        average(
          tuples.map((own) =>
            // Scalar products of pairs pay once there are more tuples than pairs.
            config.baseline === 'group-normalised' && own.length > all.length ** 2
              ? groupNormalisedMoments(enumeration, all, own)
              : tupleMoments(enumeration, all, ofSamples, own),
          ),
        )
      );
    },
    meanLength(alpha) {
      const { probabilities } = populations(alpha);
      return sequences.reduce((sum, { tokens }, row) => sum + probabilities[row]! * tokens.length, 0);
    },
  };
}

/** Expectation and variance of one estimator; `Judge.moments` for those who ask once. */
export function estimatorMoments(
  enumeration: Enumeration,
  config: ObjectiveConfig,
  drawing: Partial<Drawing> = {},
): Moments {
  const moments = judgeOf(enumeration).moments(config, drawing);
  if (!moments) throw new RangeError('the joint law of the samples of a prompt is too large to enumerate');
  return moments;
}

/** One prompt's sequences and what is the same however its samples depend on one another. */
interface PromptGradients {
  /** Their probabilities are those given the prompt. */
  gradients: SampledGradient[];
  /** Where they begin among all sequences. */
  offset: number;
  /** E g in the parameters, |E g|² and E|g|². */
  expectation: Float64Array;
  squaredMean: number;
  second: number;
}

function byPrompt(enumeration: Enumeration, all: readonly SampledGradient[]): PromptGradients[] {
  const { world, space } = enumeration;
  const prompts = world.roots.length;
  return world.roots.map((_, prompt) => {
    const gradients = all
      .filter((g) => g.prompt === prompt)
      .map((g) => ({ ...g, probability: g.probability * prompts }));
    const expectation = meanGradient(enumeration, gradients);
    return {
      gradients,
      offset: all.findIndex((g) => g.prompt === prompt),
      expectation,
      squaredMean: dot(expectation, expectation),
      second: gradients.reduce((sum, g) => sum + g.probability * space.inner(g, g), 0),
    };
  });
}

/**
 * The moments where each sample's gradient is its own affair:
 *
 *     K Var(mean) = E|g|² − |E g|² + (1/K) Σ_{i≠j} (E[g_i·g_j] − |E g|²)
 *
 * the sum over the ordered pairs of samples that share random numbers.
 */
function separateMoments(
  { space }: Enumeration,
  { gradients, offset, expectation, squaredMean, second }: PromptGradients,
  pairs: readonly Tuple[],
  samples: number,
): PromptMoments {
  const shared = pairs.reduce((sum, { rows: [i, j], probability }) => {
    const product = space.inner(gradients[i! - offset]!, gradients[j! - offset]!);
    return sum + probability * (product - squaredMean);
  }, 0);
  return { expectation, variance: second - squaredMean + shared / samples };
}

function average(prompts: readonly PromptMoments[]): Moments {
  const n = prompts.length;
  const expectation = new Float64Array(prompts[0]!.expectation.length);
  for (const own of prompts) {
    own.expectation.forEach((x, i) => {
      expectation[i]! += x / n;
    });
  }
  return { expectation, variance: prompts.reduce((sum, own) => sum + own.variance, 0) / n };
}

/** Remembers the last answer only. */
function lastOf<K extends readonly unknown[], V>(compute: (...key: K) => V): (...key: K) => V {
  let last: { name: string; value: V } | undefined;
  return (...key) => {
    const name = JSON.stringify(key);
    if (last?.name !== name) last = { name, value: compute(...key) };
    return last.value;
  };
}

function memo<K extends readonly unknown[], V>(compute: (...key: K) => V): (...key: K) => V {
  const known = new Map<string, V>();
  return (...key) => {
    const name = key.join();
    if (!known.has(name)) known.set(name, compute(...key));
    return known.get(name)!;
  };
}
