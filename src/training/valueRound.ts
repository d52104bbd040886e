import { oneShard } from '../cluster/shards.js';
import type { ModelConfig } from '../models/config.js';
import { advantages, needsActions } from '../objectives/advantages.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { mapTokens, type Ragged } from '../objectives/ragged.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Params } from '../tensor/params.js';
import {
  type DrawnFeatures,
  drawnFeatures,
  newActionHead,
  predictDrawn,
  trainActionHead,
} from './actionHead.js';
import { sampledBatch } from './policyBatches.js';
import type { Models } from './supervised.js';
import {
  newValueHead,
  predictValues,
  trainValueHead,
  type ValueFeatures,
  type ValueHead,
  type ValueOptions,
  valueFeatures,
} from './valueHead.js';

/** A round with V(s_t) at its states, the head that has learned from it, and how good V was before. */
export interface ValuedRound {
  trajectories: Trajectory[];
  head: ValueHead;
  metrics: { value_loss: number; explained_variance: number; action_explained_variance?: number };
}

/** A head that says 0, of what the objective asks for. The caller owns it. */
export function newHead(
  { hiddenSize, embeddingSize = hiddenSize }: ModelConfig,
  objective: Pick<ObjectiveConfig, 'baseline'>,
  options: ValueOptions,
): ValueHead {
  const head = newValueHead(embeddingSize, options); // a model may end on the width of its embedding
  return needsActions(objective) ? { ...head, actions: newActionHead(embeddingSize) } : head;
}

/**
 * Values for a round of fresh rollouts, and a better head for the next one. The order matters: V(s_t) is said by the head of
 * the rounds before, so that it knows nothing of y_t and no gradient becomes biased; only then the head is fitted to the
 * returns G_t of this round (those that the objective asks for, length normalisation included; for the `gae` forms those of
 * λ = 1, which look at no value). So it is with D(s,a), which learns what the better V leaves of the returns.
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
  const before = head ?? newHead(student.config, objective, options);
  const ofOwn = features.map((own, i) => {
    const values = predictValues(before, own);
    return shards.part(trajectories, shards.own[i]!).map((t) => values.get(t)!);
  });
  const values = shards.together(ofOwn).flat();
  const returns = returnsOf(trajectories, objective);
  const ofDrawn = before.actions && features.map((own) => drawnFeatures(student, own));
  const said = ofDrawn && drawnOf(models, before.actions!.params, features, ofDrawn, trajectories);
  const targets = features.map(({ sequences }) => sequences.map((s) => returns.get(s as Trajectory)!));
  const after = trainValueHead(before, features, targets, { ...options, shards });
  if (ofDrawn) {
    const left = features.map((own, i) => {
      const predicted = predictValues(after, own);
      return mapTokens(targets[i]!, (g, t, row) => g - predicted.get(own.sequences[row]!)![t]!);
    });
    after.actions = trainActionHead(after.actions!, ofDrawn, left, shards);
    for (const { drawn } of ofDrawn) drawn.dispose();
  }
  for (const { hidden } of features) hidden.dispose();
  const quality = (of: Ragged) => qualityOf(trajectories.map((t, i) => [returns.get(t)!, of[i]!]));
  return {
    trajectories: trajectories.map((t, i) => ({ ...t, values: values[i]! })),
    head: after,
    metrics: {
      ...quality(values),
      ...(said && {
        action_explained_variance: quality(mapTokens(values, (v, t, row) => v + said[row]![t]!))
          .explained_variance,
      }),
    },
  };
}

/** D(s_t, y_t) of all responses. */
function drawnOf(
  { shards = oneShard }: Models,
  params: Params,
  features: readonly ValueFeatures[],
  ofDrawn: readonly DrawnFeatures[],
  trajectories: readonly Trajectory[],
): Float32Array[] {
  const ofOwn = features.map(({ sequences }, i) => {
    const flat = predictDrawn(params, ofDrawn[i]!);
    let at = 0;
    const bySequence = new Map(
      sequences.map((s) => {
        at += s.responseIds.length;
        return [s, flat.slice(at - s.responseIds.length, at)];
      }),
    );
    return shards.part(trajectories, shards.own[i]!).map((t) => bySequence.get(t)!);
  });
  return shards.together(ofOwn).flat();
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
function qualityOf(
  rows: readonly (readonly [ArrayLike<number>, ArrayLike<number>])[],
): Pick<ValuedRound['metrics'], 'value_loss' | 'explained_variance'> {
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
