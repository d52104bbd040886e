import { UsageError } from '../errors.js';
import { baselines } from './baselines.js';
import { type BaselineBatch, type EmaState, nextEma, noEma } from './batchStatistics.js';
import { importances, samplingRatios } from './importance.js';
import { lengthNorms } from './lengthNorm.js';
import type { ObjectiveConfig } from './presets.js';
import { assertAligned, constantLike, mapTokens, type Ragged } from './ragged.js';
import { returnForms } from './returns.js';
import { logRatios, shapeRewards } from './rewards.js';
import { bootstraps, checkTaskObjective, taskReturns } from './taskRewards.js';

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
  /** Σ_v q_old(v | s_t)², at the sampling temperature; `score-weighted` needs it. */
  collision?: Ragged;
  /** V(s_t), an estimate of E[G_t | s_t] with G the `returns` of `TokenSignals`; `value`, `action-value` and the `gae` forms need it. */
  values?: Ragged;
  /** ρ_t, what rewards of a task say of every token, weighted and summed (taskRewards.ts); none when absent. */
  taskRewards?: Ragged;
  /** What `ema` remembers of the batches before; nothing when absent. */
  ema?: EmaState;
  /** Prompt of each response; `leave-one-out` and `group-normalised` need it. */
  groups?: ArrayLike<number>;
  /** Weight of each response in batch statistics, 1 when absent. The oracle passes p̃(y). */
  probabilities?: ArrayLike<number>;
}

/** Constants of the objective, one number per token: nothing here carries a gradient. */
export interface TokenSignals {
  /** r_t, the teacher's, scaled and clipped, before `kl_coef`. */
  rewards: Float64Array[];
  /** ρ_t, the task's; absent without one. */
  taskRewards?: Float64Array[];
  /** G_t: returns of teacher and task, after length normalisation, before the baseline. What a value head is fitted to. */
  returns: Float64Array[];
  advantages: Float64Array[];
  /** The importance weights of the configured correction. */
  w: Float64Array[];
  /** What multiplies the ratio: w, or 1 without `w_on_pg`. */
  pgWeights: Float64Array[];
  /** What multiplies KL_t: `kl_coef`, w with `w_on_reg` (of the state alone for `prefix`), and 1/T of `length_norm: total`. */
  klWeights: Float64Array[];
  /** What multiplies Σ_a q(a|s_t) D(s_t,a) of a baseline of actions: w of the state, or 1 without `w_on_pg`. */
  stateWeights: Float64Array[];
  /** With baseline `ema`: what it remembers after this batch. */
  ema?: EmaState;
}

/** An advantage that is 0 but for the rounding of a mean would count as clipped or not by the sign of that rounding. */
const ROUNDING = 1e-12;

/**
 * From sampled responses to advantages:
 *
 *     rewards -> returns -> length normalisation [-> + returns of the task] -> baseline -> whitening
 *
 * With rewards of a task the objective is E[Σ_t ρ_t] − β KL(q‖p), β = `kl_coef`, and
 *
 *     G_t = β N(F)_t + Σ_{k≥t} (Π_{t<j≤k} u_j) ρ_k
 *
 * where N(F)_t is the teacher's return as it is without a task: its form (Rao-Blackwellised or not), discount, scaling, clip and
 * length normalisation belong to it alone. Baseline, whitening and importance weights are of the sum.
 *
 * Batch statistics (baseline means, whitening) are over exactly the responses given: pass a whole round, or a
 * minibatch to do as LMOps does (losses.py computes advantages on each training minibatch).
 *
 * @throws UsageError when the batch lacks what the configuration needs (KL, values, prompts, slots)
 */
export function advantages(batch: SampledBatch, config: ObjectiveConfig): TokenSignals {
  const { studentLogprobs, kl, values, probabilities } = batch;
  if (kl) assertAligned(studentLogprobs, kl, 'KL');
  if (values) assertAligned(studentLogprobs, values, 'values');
  if (returnForms[config.returns].needsKl && !kl) {
    throw new UsageError(
      `objective.returns: ${config.returns} needs the KL at every sampled state, and these rollouts hold none; set returns sampled`,
    );
  }
  if (needsValues(config) && !values) {
    throw new UsageError(
      `objective: returns ${config.returns} with baseline ${config.baseline} needs the values V(s_t) of a value head, and there is none`,
    );
  }
  const { taskRewards } = batch;
  if (taskRewards) {
    assertAligned(studentLogprobs, taskRewards, 'rewards of the task');
    checkTaskObjective(config);
  }
  const beta = config.kl_coef;
  const weighted = (x: Ragged): Float64Array[] => mapTokens(x, (r) => beta * r);
  const rewards = shapeRewards(logRatios(batch.teacherLogprobs, studentLogprobs), config);
  const weights = importances[config.importance].weights(
    samplingRatios(studentLogprobs, batch.behaviorLogprobs),
    config.truncation,
  );
  const ones = constantLike(studentLogprobs, 1);
  const expected =
    kl &&
    shapeRewards(
      mapTokens(kl, (x) => -x),
      config,
    );
  const pgWeights = config.w_on_pg ? weights.w : ones;
  const stateWeights = config.w_on_pg ? weights.state : ones;
  // Without the weight on the term itself, the factors inside its return would make no sense either.
  const step = config.w_on_pg ? weights.step : ones;
  const ofTeacher = lengthNorms[config.length_norm].compute(
    {
      rewards: weighted(rewards),
      step,
      beta,
      ...(expected && { expectedRewards: weighted(expected) }),
      ...(values && { values }),
    },
    {
      form: config.returns,
      gamma: config.gamma,
      lambda: config.gae_lambda,
      includeReward: config.include_r_t,
    },
    probabilities,
  );
  const ofTask = taskRewards && taskReturns(taskRewards, step, bootstraps(config) ? config.gae_lambda : 1);
  const returns = ofTask
    ? mapTokens(ofTeacher.returns, (g, t, row) => g + ofTask[row]![t]!)
    : ofTeacher.returns;
  const klWeights = weighted(ofTeacher.klWeights);
  const statistics: BaselineBatch = {
    returns,
    slots: config.max_response,
    ...(batch.groups && { groups: batch.groups }),
    ...(probabilities && { probabilities }),
    ...(values && { values }),
    ...(batch.ema && { ema: batch.ema }),
    ...(batch.collision && { squaredScores: squaredScores(studentLogprobs, batch.collision, pgWeights) }),
  };
  let result = baselines[config.baseline].advantages(statistics);
  if (config.whiten !== 'off') {
    const whitening = config.whiten === 'padded' ? baselines['whiten-padded'] : baselines.whiten;
    result = whitening.advantages({ ...statistics, returns: result });
  }
  return {
    rewards,
    ...(taskRewards && { taskRewards: mapTokens(taskRewards, (x) => x) }),
    returns,
    advantages: mapTokens(result, (a) => (Math.abs(a) < ROUNDING ? 0 : a)),
    w: weights.w,
    pgWeights,
    stateWeights,
    klWeights: config.w_on_reg ? mapTokens(klWeights, (c, t, row) => c * weights.reg[row]![t]!) : klWeights,
    ...(config.baseline === 'ema' && { ema: nextEma(batch.ema ?? noEma, statistics, config.ema_decay) }),
  };
}

/** Whether an objective reads V(s_t), and so needs a value head. */
export function needsValues(config: Pick<ObjectiveConfig, 'returns' | 'baseline' | 'gae_lambda'>): boolean {
  return baselines[config.baseline].ofValues === true || bootstraps(config);
}

/** Whether an objective reads D(s_t,a) of every action, and so needs a head of actions beside that of values. */
export function needsActions({ baseline }: Pick<ObjectiveConfig, 'baseline'>): boolean {
  return baselines[baseline].ofActions === true;
}

/** |w_t ∇ln q(y_t)|² = w_t² (1 − 2 q(y_t) + Σ_v q(v)²), the gradient in the logits of s_t (divided by the temperature). */
function squaredScores(studentLogprobs: Ragged, collision: Ragged, w: Ragged): Float64Array[] {
  assertAligned(studentLogprobs, collision, 'collision probabilities');
  return mapTokens(
    studentLogprobs,
    (logq, t, row) => w[row]![t]! ** 2 * (1 - 2 * Math.exp(logq) + collision[row]![t]!),
  );
}
