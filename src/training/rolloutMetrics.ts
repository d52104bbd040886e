import type { TokenSignals } from '../objectives/advantages.js';
import { klEstimators } from '../objectives/klEstimators.js';
import { rewardOf } from '../objectives/taskRewards.js';
import type { Trajectory } from '../rollout/trajectory.js';

/** What the rollouts of a round say about the student that sampled them. Logged with the first step of the round. */
export function rolloutMetrics(trajectories: readonly Trajectory[]): Record<string, number> {
  const n = trajectories.length;
  const tokens = total(trajectories.map((t) => t.responseIds.length));
  return {
    rollouts: n,
    rollout_tokens: tokens,
    truncated: trajectories.filter((t) => !t.finished).length / n,
  };
}

/**
 * What is known of an optimizer batch before its gradient: rewards, returns, advantages, importance weights, and the
 * reverse KL of the sampling student per token (k3, and Rao-Blackwellised over the vocabulary).
 */
export function signalMetrics(
  trajectories: readonly Trajectory[],
  signals: TokenSignals,
  klCoef: number,
): Record<string, number> {
  const n = trajectories.length;
  const tokens = total(trajectories.map((t) => t.responseIds.length));
  const logRatios = trajectories.map((t) => t.teacherLogprobs!.map((p, i) => p - t.studentLogprobs[i]!));
  const k3 = total(logRatios.flatMap((row) => Array.from(row, (r) => klEstimators.k3.token(r))));
  const kl = total(trajectories.flatMap((t) => Array.from(t.kl!)));
  const advantage = moments(signals.advantages);
  const weight = moments(signals.w);
  const squares = total(signals.w.flatMap((row) => Array.from(row, (w) => w * w)));
  return {
    reward: moments(signals.rewards).mean,
    reward_sequence: total(logRatios.flatMap((row) => Array.from(row))) / n,
    ...taskMetrics(trajectories, signals, klCoef),
    return: moments(signals.returns).mean,
    advantage_mean: advantage.mean,
    advantage_std: advantage.std,
    importance_weight: weight.mean,
    importance_weight_max: weight.max,
    effective_sample_size: squares === 0 ? 0 : (weight.mean * tokens) ** 2 / squares / tokens,
    reverse_kl_k3: k3 / tokens,
    reverse_kl: kl / tokens,
    reverse_kl_sequence: kl / n,
    entropy: total(trajectories.flatMap((t) => Array.from(t.entropy))) / tokens,
    response_length: tokens / n,
    ended: trajectories.filter((t) => t.finished).length / n,
  };
}

/** Means over responses of each R_j, of Σ_j weight_j R_j, and of what is maximised: that sum and β Σ_t r_t. */
function taskMetrics(
  trajectories: readonly Trajectory[],
  { rewards, taskRewards }: TokenSignals,
  klCoef: number,
): Record<string, number> {
  if (!taskRewards) return {};
  const n = trajectories.length;
  const sum = (x: readonly Float64Array[]): number => total(x.map((row) => total(Array.from(row))));
  const task = sum(taskRewards) / n;
  const names = [...new Set(trajectories.flatMap((t) => t.rewards!.map(({ name }) => name)))];
  const own = names.map((name): [string, number] => [
    `task_reward_${name}`,
    total(trajectories.map((t) => rewardOf(t.rewards!.find((reward) => reward.name === name)!))) / n,
  ]);
  return {
    task_reward: task,
    ...Object.fromEntries(own),
    total_reward: task + (klCoef * sum(rewards)) / n,
  };
}

function total(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0);
}

function moments(ragged: readonly Float64Array[]): { mean: number; std: number; max: number } {
  const values = ragged.flatMap((row) => Array.from(row));
  const mean = total(values) / values.length;
  const variance = total(values.map((x) => (x - mean) ** 2)) / values.length;
  return {
    mean,
    std: Math.sqrt(variance),
    max: values.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY),
  };
}
