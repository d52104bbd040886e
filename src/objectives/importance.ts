import { assertAligned, constantLike, mapTokens, type Ragged } from './ragged.js';

/** Four ragged arrays of factors. */
export interface ImportanceWeights {
  /** Multiplies ∇ln q(y_t)·A_t: the `w` that enters the ratio. */
  w: Float64Array[];
  /** Multiplies ∇KL_t. */
  reg: Float64Array[];
  /** w without the factor of y_t itself: with it Σ_a q(a|s_t) f(s_t,a) is what w_t f(s_t,y_t) is on average, where that can be (not for `none`). */
  state: Float64Array[];
  /** u_t as it enters the per-decision return (returns.ts). */
  step: Float64Array[];
}

export interface Importance {
  equation: string;
  unbiased: boolean;
  claim: string;
  cost: string;
  /** @param truncation c of `truncated` */
  weights(u: Ragged, truncation: number): ImportanceWeights;
}

/**
 * ln of the probability with which a token is drawn under teacher-mixed sampling (MiniLLM, arXiv 2306.08543, section
 * 2.2): p̃ = α p + (1−α) q, both at the sampling temperature.
 */
export function mixedLogprob(studentLogprob: number, teacherLogprob: number, alpha: number): number {
  if (alpha === 0) return studentLogprob;
  if (alpha === 1) return teacherLogprob;
  const a = Math.log(alpha) + teacherLogprob;
  const b = Math.log1p(-alpha) + studentLogprob;
  const top = Math.max(a, b);
  return top + Math.log(Math.exp(a - top) + Math.exp(b - top));
}

/** u_t = q(y_t | s_t) / p̃(y_t | s_t), between 0 and 1/(1−α). */
export function samplingRatios(studentLogprobs: Ragged, behaviorLogprobs: Ragged): Float64Array[] {
  assertAligned(studentLogprobs, behaviorLogprobs, 'behavior log-probabilities');
  return mapTokens(studentLogprobs, (logq, t, row) => Math.exp(logq - behaviorLogprobs[row]![t]!));
}

/**
 * Importance correction for responses drawn from p̃ instead of q, with W_t = Π_{j≤t} u_j.
 *
 * What is exact follows from what each factor of the gradient depends on. E_q[f(y_≤k)] = E_p̃[W_k f(y_≤k)], hence
 *
 *     ∇KL_t                          function of s_t = y_<t              W_{t−1}
 *     ∇ln q(y_t) b_t                 function of y_≤t                    W_t
 *     ∇ln q(y_t) r_k,   k > t        function of y_≤k                    W_k
 *     ∇ln q(y_t) KL_k,  k > t        function of s_k                     W_{k−1}
 *
 * (a longer product is also right in expectation, E_p̃[u | s] = 1, and only noisier). Taking W_t out as the weight of
 * the term at t leaves W_k/W_t = Π_{t<j≤k} u_j inside the return: that is `step`, applied by returns.ts, and the
 * surrogate can multiply by W_t as it does by any w. This is per-decision importance sampling (Precup et al. 2000).
 *
 * `state` is what the sum over all actions at s_t weighs, of which w_t f(y_t) is the sample: E_p̃[W_t f(y_t) | s_t] = W_{t−1} E_q[f | s_t].
 *
 * `token` is the paper's approximation of the product by its last factor (eq. 7, where it multiplies both terms; LMOps
 * applies it to the policy-gradient term only). It leaves the states distributed as under p̃, hence biased. On the
 * single-step term E_p̃[u_t | s_t] = 1: there it changes no expectation.
 *
 * `truncated` cuts every running product at c (Ionides, Truncated importance sampling, 2008): W̄_t = min(c, W_t) in place of
 * W_t throughout, so that ∇ln q(y_t) r_k weighs min(c, W_k). No weight exceeds c, whatever the length; c = ∞ is `prefix`.
 */
export const importances = {
  none: {
    equation: '1',
    unbiased: false,
    claim: 'exact only without mixing (alpha 0)',
    cost: 'none',
    weights: (u) => ({
      w: constantLike(u, 1),
      reg: constantLike(u, 1),
      state: constantLike(u, 1),
      step: constantLike(u, 1),
    }),
  },
  token: {
    equation: 'w_t = u_t = q(y_t)/p̃(y_t)',
    unbiased: false,
    claim: 'biased under mixing: the states are still distributed as under p̃',
    cost: 'none',
    weights: (u) => ({
      w: mapTokens(u, (x) => x),
      reg: mapTokens(u, (x) => x),
      state: constantLike(u, 1),
      step: constantLike(u, 1),
    }),
  },
  prefix: {
    equation: 'w_t = Π_{j≤t} u_j, KL_t by Π_{j<t} u_j, future r_k by Π_{t<j≤k} u_j',
    unbiased: true,
    claim: 'exact; its variance grows with the length',
    cost: 'none',
    weights: (u) => running(u.map(runningProduct), u),
  },
  truncated: {
    equation: 'as prefix, with min(c, Π_{j≤t} u_j) for every product',
    unbiased: false,
    claim: 'biased where a product exceeds c; no weight exceeds c',
    cost: 'none',
    weights(u, truncation) {
      const w = u.map((row) => runningProduct(row).map((x) => Math.min(truncation, x)));
      const step = mapTokens(w, (x, t, row) => {
        const before = t === 0 ? 1 : w[row]![t - 1]!;
        return before > 0 ? x / before : 0; // what follows an underflow to 0 weighs 0 already
      });
      return running(w, step);
    },
  },
} satisfies Record<string, Importance>;

export type ImportanceName = keyof typeof importances;
export const importanceNames = Object.keys(importances) as [ImportanceName, ...ImportanceName[]];

/** W_t at the term of t, W_{t−1} at its state, and what each step multiplies by. */
function running(w: Float64Array[], step: Ragged): ImportanceWeights {
  const state = mapTokens(w, (_, t, row) => (t === 0 ? 1 : w[row]![t - 1]!));
  return {
    w,
    reg: state,
    state,
    step: mapTokens(step, (x) => x),
  };
}

function runningProduct(u: ArrayLike<number>): Float64Array {
  const product = Float64Array.from(u);
  for (let t = 1; t < product.length; t++) product[t]! *= product[t - 1]!;
  return product;
}
