import type { Ragged } from './ragged.js';

/** What a return is summed from, ragged and aligned. */
export interface ReturnTerms {
  /** r_t, scaled and clipped. */
  rewards: Ragged;
  /** E[r_t | s_t] = −KL_t through the same scaling and clip; only `rao-blackwell` reads it. */
  expectedRewards?: Ragged;
  /** u_t of per-decision importance weighting (importance.ts `step`): 1 everywhere unless `prefix`. */
  step: Ragged;
}

export interface ReturnForm {
  equation: string;
  /** Whether E[future_t ∇ln q(y_t)] equals E[R_{t+1} ∇ln q(y_t)] for γ = 1. */
  unbiased: boolean;
  cost: string;
  needsKl: boolean;
  /** future_t for every token of one response; 0 at its last token. */
  future(
    rewards: ArrayLike<number>,
    expected: ArrayLike<number>,
    step: ArrayLike<number>,
    gamma: number,
  ): Float64Array;
}

/**
 * The future part of the return, what follows token t, with u_j the importance factor of step j:
 *
 *     sampled         F_t = Σ_{k>t} γ^(k−t−1) (Π_{t<j≤k} u_j) r_k          F_t = u_{t+1} (r_{t+1} + γ F_{t+1})
 *     rao-blackwell   F_t = Σ_{k>t} γ^(k−t−1) (Π_{t<j<k} u_j) (−KL_k)      F_t = −KL_{t+1} + γ u_{t+1} F_{t+1}
 *
 * `sampled` is R_{t+1} of MiniLLM (arXiv 2306.08543, eq. 3). `rao-blackwell` replaces every future reward by its
 * conditional expectation E_q[r_k | s_k] = −KL_k, which the single-step term computes anyway. It stays unbiased by the
 * tower property: ∇ln q(y_t), t < k, is a function of s_k, so that E[r_k ∇ln q(y_t)] = E[E[r_k | s_k] ∇ln q(y_t)].
 * KL_k does not depend on y_k, hence its product stops one factor earlier.
 */
export const returnForms = {
  sampled: {
    equation: 'F_t = Σ_{k>t} γ^(k−t−1) r_k',
    unbiased: true,
    cost: 'none: one log-ratio per token',
    needsKl: false,
    future(rewards, _expected, step, gamma) {
      const future = new Float64Array(rewards.length);
      for (let t = rewards.length - 2; t >= 0; t--) {
        future[t] = step[t + 1]! * (rewards[t + 1]! + gamma * future[t + 1]!);
      }
      return future;
    },
  },
  'rao-blackwell': {
    equation: 'F_t = −Σ_{k>t} γ^(k−t−1) KL_k',
    unbiased: true,
    cost: 'the full-vocabulary KL at every sampled state, which the single-step term needs anyway',
    needsKl: true,
    future(rewards, expected, step, gamma) {
      const future = new Float64Array(rewards.length);
      for (let t = rewards.length - 2; t >= 0; t--) {
        future[t] = expected[t + 1]! + gamma * step[t + 1]! * future[t + 1]!;
      }
      return future;
    },
  },
} satisfies Record<string, ReturnForm>;

export type ReturnName = keyof typeof returnForms;
export const returnNames = Object.keys(returnForms) as [ReturnName, ...ReturnName[]];

export interface ReturnOptions {
  form: ReturnName;
  gamma: number;
  /** true: R_t, the sampled reward of token t included (then the single-step term counts r_t again); false: R_{t+1}. */
  includeReward: boolean;
}

/**
 * The return that multiplies ∇ln q(y_t), before length normalisation and baseline:
 *
 *     with r_t      G_t = r_t + γ F_t          (LMOps: Σ_{k≥t} γ^(k−t) r_k)
 *     without       G_t = F_t                  (paper: Σ_{k>t} γ^(k−t−1) r_k; 0 for the last token)
 *
 * γ = 1 is the gradient of the sequence-level KL; any γ < 1 is biased towards the near future.
 *
 * @throws RangeError when `rao-blackwell` is asked for without expected rewards
 */
export function rewardToGo(terms: ReturnTerms, options: ReturnOptions): Float64Array[] {
  const form: ReturnForm = returnForms[options.form];
  if (form.needsKl && !terms.expectedRewards)
    throw new RangeError(`returns ${options.form} need expectedRewards`);
  return terms.rewards.map((rewards, row) => {
    const future = form.future(rewards, terms.expectedRewards?.[row] ?? [], terms.step[row]!, options.gamma);
    return options.includeReward ? future.map((f, t) => rewards[t]! + options.gamma * f) : future;
  });
}
