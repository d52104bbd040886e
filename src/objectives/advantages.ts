import { UsageError } from '../errors.js';
import { baselines } from './baselines.js';
import { importances, samplingRatios } from './importance.js';
import { lengthNorms } from './lengthNorm.js';
import type { ObjectiveConfig } from './presets.js';
import { assertAligned, constantLike, mapTokens, type Ragged } from './ragged.js';
import { logRatios, shapeRewards } from './rewards.js';

/** What was known when a batch of responses was sampled; a list of `Trajectory` has all of it. */
export interface SampledBatch {
  /** ln q_old(y_t | s_t) of the student that sampled, at the sampling temperature. */
  studentLogprobs: Ragged;
  /** ln p(y_t | s_t) at temperature 1. */
  teacherLogprobs: Ragged;
  /** ln of the probability with which y_t was drawn, at the sampling temperature. */
  behaviorLogprobs: Ragged;
  /** KL(q_old‖p) at every state, at the sampling temperature; `rao-blackwell` needs it. */
  kl?: Ragged;
  /** Prompt of each response; `leave-one-out` needs it. */
  groups?: ArrayLike<number>;
  /** Weight of each response in batch statistics, 1 when absent. The oracle passes p̃(y). */
  probabilities?: ArrayLike<number>;
}

/** Constants of the objective, one number per token: nothing here carries a gradient. */
export interface TokenSignals {
  /** r_t, scaled and clipped. */
  rewards: Float64Array[];
  /** Returns after length normalisation, before the baseline. */
  returns: Float64Array[];
  advantages: Float64Array[];
  /** The importance weights of the configured correction. */
  w: Float64Array[];
  /** What multiplies the ratio: w, or 1 without `w_on_pg`. */
  pgWeights: Float64Array[];
  /** What multiplies KL_t: w with `w_on_reg` (of the state alone for `prefix`), and 1/T of `length_norm: total`. */
  klWeights: Float64Array[];
}

/**
 * From sampled responses to advantages:
 *
 *     rewards -> returns -> length normalisation -> baseline -> whitening
 *
 * Batch statistics (baseline means, whitening) are over exactly the responses given: pass a whole round, or a
 * minibatch to do as LMOps does (losses.py computes advantages on each training minibatch).
 *
 * @throws UsageError when the batch lacks what the configuration needs (KL, prompts, slots)
 */
export function advantages(batch: SampledBatch, config: ObjectiveConfig): TokenSignals {
  const { studentLogprobs, kl, groups, probabilities } = batch;
  if (kl) assertAligned(studentLogprobs, kl, 'KL');
  if (config.returns === 'rao-blackwell' && !kl) {
    throw new UsageError(
      'objective.returns: rao-blackwell needs the KL at every sampled state, and these rollouts hold none; set returns sampled',
    );
  }
  const rewards = shapeRewards(logRatios(batch.teacherLogprobs, studentLogprobs), config);
  const weights = importances[config.importance].weights(
    samplingRatios(studentLogprobs, batch.behaviorLogprobs),
  );
  const ones = constantLike(studentLogprobs, 1);
  const expected =
    kl &&
    shapeRewards(
      mapTokens(kl, (x) => -x),
      config,
    );
  const { returns, klWeights } = lengthNorms[config.length_norm].compute(
    // Without the weight on the term itself, the factors inside its return would make no sense either.
    { rewards, step: config.w_on_pg ? weights.step : ones, ...(expected && { expectedRewards: expected }) },
    { form: config.returns, gamma: config.gamma, includeReward: config.include_r_t },
    probabilities,
  );
  const statistics = {
    slots: config.max_response,
    ...(groups && { groups }),
    ...(probabilities && { probabilities }),
  };
  let result = baselines[config.baseline].advantages({ returns, ...statistics });
  if (config.whiten !== 'off') {
    const whitening = config.whiten === 'padded' ? baselines['whiten-padded'] : baselines.whiten;
    result = whitening.advantages({ returns: result, ...statistics });
  }
  return {
    rewards,
    returns,
    advantages: result,
    w: weights.w,
    pgWeights: config.w_on_pg ? weights.w : ones,
    klWeights: config.w_on_reg ? mapTokens(klWeights, (c, t, row) => c * weights.reg[row]![t]!) : klWeights,
  };
}
