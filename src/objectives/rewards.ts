import { assertAligned, mapTokens, type Ragged } from './ragged.js';

/** How the raw log-ratio becomes the reward. 0 or undefined switches a step off. */
export interface RewardShape {
  /** The reward is divided by this (LMOps: 0.5, so rewards are doubled). */
  reward_scaling?: number;
  /** Then cut to [−c, c] (LMOps scripts: 100). */
  cliprange_reward?: number;
}

/**
 * The reward of a token, in nats:
 *
 *     r_t = ln p(y_t | s_t) − ln q_old(y_t | s_t)
 *
 * so that the sequence-level reverse KL is KL(q‖p) = −E_q Σ_t r_t (MiniLLM, arXiv 2306.08543, eq. 1 and 2). Temperature convention: ln p at temperature 1, ln q_old at the sampling
 * temperature, and the reward is not divided by it (as LMOps does).
 *
 * @param teacherLogprobs ln p(y_t | s_t), ragged
 * @param studentLogprobs ln q_old(y_t | s_t) of the student that sampled, ragged
 * @throws RangeError when the two do not align
 */
export function logRatios(teacherLogprobs: Ragged, studentLogprobs: Ragged): Float64Array[] {
  assertAligned(studentLogprobs, teacherLogprobs, 'teacher log-probabilities');
  return mapTokens(teacherLogprobs, (logp, t, row) => logp - studentLogprobs[row]![t]!);
}

/**
 * Scaling and clipping of rewards: clip(r / reward_scaling, ±cliprange_reward). Both change the objective (scaling
 * weighs the long-term against the single-step term); the paper has neither.
 *
 * The expected rewards −KL_k of the Rao-Blackwellised return go through the same function: the scaling is then exact,
 * while the clip, a guard against outliers, no longer commutes with the expectation once it cuts something.
 */
export function shapeRewards(rewards: Ragged, shape: RewardShape): Float64Array[] {
  const scale = shape.reward_scaling || 1;
  const limit = shape.cliprange_reward || Number.POSITIVE_INFINITY;
  return mapTokens(rewards, (r) => Math.min(limit, Math.max(-limit, r / scale)));
}
