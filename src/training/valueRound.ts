import { oneShard } from '../cluster/shards.js';
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
  const { student, shards = oneShard } = models;
  const features = shards.own.map((shard) =>
    valueFeatures(student, shards.part(trajectories, shard), options.microBatchSize),
  );
  const before = head ?? newValueHead(student.config.hiddenSize, options);
  const ofOwn = features.map((own, i) => {
    const values = predictValues(before, own);
    return shards.part(trajectories, shards.own[i]!).map((t) => values.get(t)!);
  });
  const values = shards.together(ofOwn).flat();
  const returns = returnsOf(trajectories, objective);
  const after = trainValueHead(
    before,
    features,
    features.map(({ sequences }) => sequences.map((sequence) => returns.get(sequence as Trajectory)!)),
    { ...options, shards },
  );
  for (const { hidden } of features) hidden.dispose();
  return {
    trajectories: trajectories.map((t, i) => ({ ...t, values: values[i]! })),
    head: after,
    metrics: quality(trajectories.map((t, i) => [returns.get(t)!, values[i]!])),
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
