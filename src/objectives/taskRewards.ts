import { UsageError } from '../errors.js';
import type { ObjectiveConfig } from './presets.js';
import type { Ragged } from './ragged.js';
import { returnForms } from './returns.js';

/** What one reward function said of one response. */
export interface TaskReward {
  name: string;
  /** What it is multiplied by in the objective. */
  weight: number;
  /** One number for the response, or one for each of its tokens. */
  value: number | Float64Array;
}

/** R_j of a response: the number, or the sum over its tokens. */
export function rewardOf({ value }: Pick<TaskReward, 'value'>): number {
  return typeof value === 'number' ? value : value.reduce((sum, x) => sum + x, 0);
}

/**
 * The task's reward of every token of a response, ρ_t = Σ_j weight_j ρ_{j,t}. A reward of the whole response stands at its last
 * token, where all that it may look at has been said.
 *
 * @param length tokens of the response
 * @throws RangeError when a list is not one number a token
 */
export function tokenRewards(length: number, rewards: readonly TaskReward[]): Float64Array {
  const sum = new Float64Array(length);
  for (const { name, weight, value } of rewards) {
    if (typeof value === 'number') {
      sum[length - 1]! += weight * value;
      continue;
    }
    if (value.length !== length)
      throw new RangeError(`reward ${name}: ${value.length} numbers for ${length} tokens`);
    for (let t = 0; t < length; t++) sum[t]! += weight * value[t]!;
  }
  return sum;
}

/**
 * The task's part of the return that multiplies ∇ln q(y_t), with u_j the importance factor of step j:
 *
 *     ρ_t + F_t,   F_t = λ u_{t+1} (ρ_{t+1} + F_{t+1})
 *
 * λ is 1 but for the `gae` returns, whose values V(s_t) stand for the rest. ρ_t is always in it: the single-step term differentiates
 * the KL alone. There is no discount and no length normalisation, which belong to the teacher's term: with either a
 * reward of a long response would hardly reach its first token. It is unbiased where ρ_t looks at no token after t: then
 * E[ρ_k ∇ln q(y_t)] = 0 for k < t, and the rewards before t may be left out.
 */
export function taskReturns(rewards: Ragged, step: Ragged, lambda: number): Float64Array[] {
  return rewards.map((rho, row) => {
    const returns = new Float64Array(rho.length);
    let future = 0;
    for (let t = rho.length - 1; t >= 0; t--) {
      returns[t] = rho[t]! + future;
      future = lambda * step[row]![t]! * returns[t]!;
    }
    return returns;
  });
}

/** Whether returns are bootstrapped from values, and these are then of teacher and task together. */
export function bootstraps({
  returns,
  gae_lambda,
}: Pick<ObjectiveConfig, 'returns' | 'gae_lambda'>): boolean {
  return returnForms[returns].needsValues && gae_lambda < 1;
}

/**
 * One value head sees the sum of both terms: where only the teacher's is discounted or normalised, no share of it can be told apart.
 *
 * @throws UsageError naming the switch that mends it
 */
export function checkTaskObjective(config: ObjectiveConfig): void {
  const { returns, length_norm, gamma } = config;
  if (!bootstraps(config) || (length_norm === 'off' && gamma === 1)) return;
  const [field, value, mend] =
    length_norm === 'off' ? ['gamma', gamma, 1] : ['length_norm', length_norm, 'off'];
  throw new UsageError(
    `objective.${field}: ${value} with returns ${returns} and rewards of a task: the values are of both terms and only the teacher's has a ${field}; set it to ${mend}, or choose other returns`,
  );
}
