import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { weightsOf } from '../models/lora.js';
import { cutVocabulary, packSequences, responseStates } from '../models/packed.js';
import { advantages, needsActions, type SampledBatch, type TokenSignals } from '../objectives/advantages.js';
import { batchTotals, tokenCoefficients } from '../objectives/aggregate.js';
import type { EmaState } from '../objectives/batchStatistics.js';
import {
  aggregationOf,
  type MinillmLoss,
  type MinillmLossInputs,
  minillmLoss,
} from '../objectives/minillmLoss.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { flatten } from '../objectives/ragged.js';
import { tokenRewards } from '../objectives/taskRewards.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Params } from '../tensor/params.js';
import { actionValues } from './actionHead.js';
import type { MicroBatch } from './method.js';
import { ownMicroBatches } from './microBatches.js';
import { type Models, sharedVocabulary } from './supervised.js';

export interface PolicyBatchOptions {
  microBatchSize: number | undefined;
  /** The teacher's logits [N, V] at the response positions of some of the trajectories, in that order; owned by the loop.
   * undefined from a teacher that knows sampled tokens only. */
  teacherLogits(part: readonly Trajectory[]): tf.Tensor2D | undefined;
  /** What baseline `ema` remembers of the batches before. */
  ema?: EmaState | undefined;
  /** The head that says D(s,a), for a baseline of actions; it must not have learned from these trajectories. */
  actions?: Params | undefined;
  /** Sees the per-token values of a micro-batch, in its order; they live only during the call. */
  observe?(part: readonly Trajectory[], perToken: MinillmLoss['perToken']): void;
}

/**
 * The rollout part of a MiniLLM optimizer step: advantages over the whole batch (constants), and the micro-batches whose
 * losses (policy gradient + single-step KL) add up to the batch's. Training differentiates exactly this, and
 * `minillm inspect` prints it.
 */
export function policyBatches(
  models: Models,
  trajectories: readonly Trajectory[],
  objective: ObjectiveConfig,
  options: PolicyBatchOptions,
): { signals: TokenSignals; micro: MicroBatch[] } {
  const signals = advantages(
    { ...sampledBatch(trajectories), ...(options.ema && { ema: options.ema }) },
    objective,
  );
  const { actions } = options;
  if (needsActions(objective) && !actions)
    throw new UsageError(
      `objective: baseline ${objective.baseline} needs the values of all actions of a trained head, and there is none`,
    );
  const vocabulary = sharedVocabulary(models);
  const { student } = models;
  const said = (params: Params, hidden: tf.Tensor2D): tf.Tensor2D =>
    actionValues(actions!, weightsOf(student, params), student.config, hidden);
  const byRow = new Map(trajectories.map((t, i) => [t, i]));
  const totals = batchTotals(lengthsOf(trajectories), objective.max_response);
  const parts = ownMicroBatches(trajectories, options.microBatchSize, models.shards);
  const micro = parts.map(({ part, shard }): MicroBatch => {
    const batch = packSequences(part);
    const coefficients = tokenCoefficients(aggregationOf(objective), lengthsOf(part), totals);
    const rows = part.map((t) => byRow.get(t)!);
    const constants = pick(signals, trajectories, rows);
    const stateWeights = actions && flatten(rows.map((row) => signals.stateWeights[row]!));
    return {
      shard,
      constants: () => [tf.tensor1d(batch.targets, 'int32'), ...[options.teacherLogits(part) ?? []].flat()],
      loss(params, [targets, teacher]) {
        const { hidden, logits } = responseStates(params, student, batch);
        const inputs = {
          studentLogits: cutVocabulary(logits, vocabulary),
          teacherLogits: teacher as tf.Tensor2D | undefined,
          tokenIds: targets as tf.Tensor1D,
          coefficients,
          lengths: lengthsOf(part),
          ...constants,
          ...(stateWeights && {
            actions: { values: cutVocabulary(said(params, hidden), vocabulary), weights: stateWeights },
          }),
        };
        const { loss, parts, perToken } = minillmLoss(inputs, objective);
        options.observe?.(part, perToken);
        const share = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), totals.tokens);
        return {
          loss,
          parts: {
            ...parts,
            clipped_fraction: share(perToken.clipped),
            ratio: share(perToken.ratio),
            ...(perToken.kl && { kl_new: share(perToken.kl) }),
          },
        };
      },
    };
  });
  return { signals, micro };
}

function lengthsOf(trajectories: readonly Trajectory[]): number[] {
  return trajectories.map((t) => t.responseIds.length);
}

/** What trajectories know, as the objectives take it. */
export function sampledBatch(trajectories: readonly Trajectory[]): SampledBatch {
  return {
    studentLogprobs: trajectories.map((t) => t.studentLogprobs),
    teacherLogprobs: trajectories.map((t) => t.teacherLogprobs!),
    behaviorLogprobs: trajectories.map((t) => t.behaviorLogprobs),
    kl: trajectories.map((t) => t.kl!),
    collision: trajectories.map((t) => t.collision),
    groups: trajectories.map((t) => t.promptIndex),
    ...(trajectories.some((t) => t.rewards) && {
      taskRewards: trajectories.map((t) => tokenRewards(t.responseIds.length, t.rewards ?? [])),
    }),
    ...(trajectories.every((t) => t.values) && { values: trajectories.map((t) => t.values!) }),
  };
}

/**
 * All that `minillmLoss` takes beside the logits, for the responses of one optimizer batch, response after response. Losses over them
 * are the batch's. The caller owns `tokenIds`.
 */
export function lossConstants(
  trajectories: readonly Trajectory[],
  signals: TokenSignals,
  objective: ObjectiveConfig,
): Omit<MinillmLossInputs, 'studentLogits' | 'teacherLogits'> {
  const lengths = lengthsOf(trajectories);
  const totals = batchTotals(lengths, objective.max_response);
  return {
    tokenIds: tf.tensor1d(
      trajectories.flatMap((t) => Array.from(t.responseIds)),
      'int32',
    ),
    coefficients: tokenCoefficients(aggregationOf(objective), lengths, totals),
    lengths,
    ...pick(signals, trajectories, [...trajectories.keys()]),
  };
}

/** The constants of some responses, token after token, as the loss takes them. */
function pick(signals: TokenSignals, trajectories: readonly Trajectory[], at: readonly number[]) {
  const select = (x: readonly ArrayLike<number>[]): Float32Array => flatten(at.map((i) => x[i]!));
  return {
    advantages: select(signals.advantages),
    pgWeights: select(signals.pgWeights),
    klWeights: select(signals.klWeights),
    oldLogprobs: select(trajectories.map((t) => t.studentLogprobs)),
  };
}
