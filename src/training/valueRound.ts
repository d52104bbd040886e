import { advantages } from '../objectives/advantages.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { sampledBatch } from './policyBatches.js';
import type { Models } from './supervised.js';
import {
  newValueHead,
  predictValues,
  trainValueHead,
  type ValueHead,
  type ValueOptions,
  valueFeatures,
} from './valueHead.js';

/** A round with V(s_t) at its states, the head that has learned from it, and how good V was before. */
export interface ValuedRound {
  trajectories: Trajectory[];
  head: ValueHead;
  metrics: { value_loss: number; explained_variance: number };
}

/**
 * Values for a round of fresh rollouts, and a better head for the next one. The order matters: V(s_t) is said by the head of
 * the rounds before, so that it knows nothing of y_t and no gradient becomes biased; only then the head is fitted to the
 * returns G_t of this round (those that the objective asks for, length normalisation included; for the `gae` forms those of
 * λ = 1, which look at no value).
 *
 * @param head consumed; undefined: a new one, whose values are 0
 */
export function valueRound(
  models: Models,
  trajectories: readonly Trajectory[],
  objective: ObjectiveConfig,
  head: ValueHead | undefined,
  options: ValueOptions & { microBatchSize?: number | undefined },
): ValuedRound {
  const { student } = models;
  const features = valueFeatures(student, trajectories, options.microBatchSize);
  const before = head ?? newValueHead(student.config.hiddenSize, options);
  const values = predictValues(before, features);
  const returns = returnsOf(trajectories, objective);
  const after = trainValueHead(
    before,
    features,
    features.sequences.map((sequence) => returns.get(sequence as Trajectory)!),
    options,
  );
  features.hidden.dispose();
  return {
    trajectories: trajectories.map((t) => ({ ...t, values: values.get(t)! })),
    head: after,
    metrics: quality(trajectories.map((t) => [returns.get(t)!, values.get(t)!])),
  };
}

/** G_t of every response; nothing of it depends on a baseline or on values. */
function returnsOf(
  trajectories: readonly Trajectory[],
  objective: ObjectiveConfig,
): Map<Trajectory, Float64Array> {
  const { returns } = advantages(sampledBatch(trajectories), {
    ...objective,
    gae_lambda: 1,
    baseline: 'none',
    whiten: 'off',
  });
  return new Map(trajectories.map((t, i) => [t, returns[i]!]));
}

/** Mean squared error of V, and 1 − Var(G − V) / Var(G) over tokens: 1 is a perfect V, 0 a constant. */
function quality(rows: readonly (readonly [ArrayLike<number>, ArrayLike<number>])[]): ValuedRound['metrics'] {
  const returns = rows.flatMap(([g]) => Array.from(g));
  const errors = rows.flatMap(([g, v]) => Array.from(g, (x, t) => x - v[t]!));
  const mean = (x: readonly number[]): number => x.reduce((sum, y) => sum + y, 0) / x.length;
  const variance = (x: readonly number[]): number => {
    const center = mean(x);
    return mean(x.map((y) => (y - center) ** 2));
  };
  const spread = variance(returns);
  return {
    value_loss: mean(errors.map((e) => e * e)),
    explained_variance: spread === 0 ? 0 : 1 - variance(errors) / spread,
  };
}
