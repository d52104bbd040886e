import type { Ragged } from './ragged.js';

/** What a return is summed from, ragged and aligned. */
export interface ReturnTerms {
  /** r_t, scaled and clipped, times β. */
  rewards: Ragged;
  /** β, the weight of the reverse KL; 1 when absent. `length_norm: total` has a term without a reward. */
  beta?: number;
  /** E[r_t | s_t] = −KL_t through the same scaling, clip and weight; the Rao-Blackwellised forms read it. */
  expectedRewards?: Ragged;
  /** V(s_t), an estimate of E[G_t | s_t] of the very return G that is asked for; the `gae` forms read it. */
  values?: Ragged;
  /** u_t of per-decision importance weighting (importance.ts `step`): 1 everywhere unless `prefix` or `truncated`. */
  step: Ragged;
}

export interface ReturnOptions {
  form: ReturnName;
  gamma: number;
  /** λ of the `gae` forms; 1 when absent, and then no value is looked at. */
  lambda?: number;
  /** true: R_t, the sampled reward of token t included (then the single-step term counts r_t again); false: R_{t+1}. */
  includeReward: boolean;
}

/** One response's share of `ReturnTerms`. */
interface Row {
  rewards: ArrayLike<number>;
  expected: ArrayLike<number>;
  values: ArrayLike<number>;
  step: ArrayLike<number>;
}

export interface ReturnForm {
  equation: string;
  /** Whether E[G_t ∇ln q(y_t)] is that of the sampled return, for γ = 1; the `gae` forms: with exact values or λ = 1. */
  unbiased: boolean;
  claim: string;
  cost: string;
  needsKl: boolean;
  /** Reads V(s_t) unless λ = 1, and is then only as unbiased as the values are exact. */
  needsValues: boolean;
  /** F_t, what follows token t, for every token of one response; 0 at its last token. */
  future(row: Row, options: ReturnOptions): Float64Array;
}

/**
 * The future part F_t of the return, what follows token t, with u_j the importance factor of step j:
 *
 *     sampled           F_t = u_{t+1} (r_{t+1} + γ F_{t+1})
 *     rao-blackwell     F_t = −KL_{t+1} + γ u_{t+1} F_{t+1}
 *     gae               F_t = λ (sampled F_t) + (1−λ) B_{t+1}
 *     gae-rao-blackwell F_t = λ (rao-blackwell F_t) + (1−λ) B_{t+1}
 *     none              F_t = 0
 *
 * with F_{t+1} on the right in the form itself. `sampled` is R_{t+1} of MiniLLM (arXiv 2306.08543, eq. 3).
 *
 * `rao-blackwell` replaces every future reward by its conditional expectation E_q[r_k | s_k] = −KL_k, which the single-step
 * term computes anyway. It stays unbiased by the tower property: ∇ln q(y_t), t < k, is a function of s_k, so that
 * E[r_k ∇ln q(y_t)] = E[E[r_k | s_k] ∇ln q(y_t)]. KL_k does not depend on y_k, hence its product stops one factor earlier.
 *
 * `gae` is generalised advantage estimation (Schulman et al., arXiv 1506.02438, eq. 16) written as a return: the estimator
 *
 *     Â_t = Σ_l (γλ)^l δ_{t+l},   δ_t = x_t + γ V(s_{t+1}) − V(s_t),   V = 0 after the end
 *
 * is G_t − V(s_t), which baseline `value` takes. x is the stream of rewards that G sums: r_t with r_t, r_{t+1} without;
 * B_{t+1} is what one step of bootstrapping puts in place of the rest: V(s_{t+1}) with r_t, and x_t + γ V(s_{t+1}) without.
 * A response cut at the length limit ends there; nothing is bootstrapped beyond it, because its rewards end there too.
 */
export const returnForms = {
  sampled: {
    equation: 'F_t = Σ_{k>t} γ^(k−t−1) r_k',
    unbiased: true,
    claim: 'exact',
    cost: 'none: one log-ratio per token',
    needsKl: false,
    needsValues: false,
    future: (row, options) => recursion(row, { ...options, lambda: 1 }, false),
  },
  'rao-blackwell': {
    equation: 'F_t = −Σ_{k>t} γ^(k−t−1) KL_k',
    unbiased: true,
    claim: 'exact, by the tower property',
    cost: 'the full-vocabulary KL at every sampled state, which the single-step term needs anyway',
    needsKl: true,
    needsValues: false,
    future: (row, options) => recursion(row, { ...options, lambda: 1 }, true),
  },
  gae: {
    equation: 'G_t = V(s_t) + Σ_{l≥0} (γλ)^l δ_{t+l}, δ_t = x_t + γ V(s_{t+1}) − V(s_t)',
    unbiased: true,
    claim: 'exact for λ = 1 with any values, for λ < 1 with exact ones only; else biased by their error',
    cost: 'a value head: one more pass of the student over the responses, and its training',
    needsKl: false,
    needsValues: true,
    future: (row, options) => recursion(row, options, false),
  },
  'gae-rao-blackwell': {
    equation: 'the same with −KL_k in place of every future r_k',
    unbiased: true,
    claim: 'as gae',
    cost: 'those of rao-blackwell and of gae',
    needsKl: true,
    needsValues: true,
    future: (row, options) => recursion(row, options, true),
  },
  none: {
    equation: 'F_t = 0',
    unbiased: false,
    claim:
      'biased: what follows a token is left out; alone with the single-step term it is the per-token reverse KL at the sampled states, held fixed',
    cost: 'none, and no noise',
    needsKl: false,
    needsValues: false,
    future: ({ rewards }) => new Float64Array(rewards.length),
  },
} satisfies Record<string, ReturnForm>;

export type ReturnName = keyof typeof returnForms;
export const returnNames = Object.keys(returnForms) as [ReturnName, ...ReturnName[]];
/** Those that estimate the whole gradient. */
export const futureNames = returnNames.filter((name) => returnForms[name].unbiased);

/** All four forms: λ = 1 is the return itself, `exact` takes the expectations of the rewards. */
function recursion(
  { rewards, expected, values, step }: Row,
  { gamma, lambda = 1, includeReward }: ReturnOptions,
  exact: boolean,
): Float64Array {
  const future = new Float64Array(rewards.length);
  for (let t = rewards.length - 2; t >= 0; t--) {
    const k = t + 1;
    const reward = exact ? expected[k]! : step[k]! * rewards[k]!;
    future[t] = reward + gamma * step[k]! * future[k]!;
    if (lambda === 1) continue;
    const bootstrapped = includeReward ? values[k]! : reward + gamma * values[k]!;
    future[t] = lambda * future[t]! + (1 - lambda) * bootstrapped;
  }
  return future;
}

/**
 * The return that multiplies ∇ln q(y_t), before length normalisation and baseline:
 *
 *     with r_t      G_t = r_t + γ F_t          (LMOps: Σ_{k≥t} γ^(k−t) r_k)
 *     without       G_t = F_t                  (paper: Σ_{k>t} γ^(k−t−1) r_k; 0 for the last token)
 *
 * γ = 1 is the gradient of the sequence-level KL; any γ < 1 is biased towards the near future.
 *
 * @throws RangeError when a form lacks the expected rewards or the values that it reads
 */
export function rewardToGo(terms: ReturnTerms, options: ReturnOptions): Float64Array[] {
  const form: ReturnForm = returnForms[options.form];
  if (form.needsKl && !terms.expectedRewards)
    throw new RangeError(`returns ${options.form} need expectedRewards`);
  if (form.needsValues && (options.lambda ?? 1) !== 1 && !terms.values)
    throw new RangeError(`returns ${options.form} need values`);
  return terms.rewards.map((rewards, i) => {
    const row = {
      rewards,
      expected: terms.expectedRewards?.[i] ?? [],
      values: terms.values?.[i] ?? [],
      step: terms.step[i]!,
    };
    const future = form.future(row, options);
    return options.includeReward ? future.map((f, t) => rewards[t]! + options.gamma * f) : future;
  });
}
