import { constantLike, longest, mapTokens, type Ragged } from './ragged.js';
import { type ReturnOptions, type ReturnTerms, returnForms, rewardToGo } from './returns.js';

export interface NormalisedReturns {
  returns: Float64Array[];
  /** What multiplies KL_t in the single-step term: 1, or the state-independent stand-in for 1/T of `total`. */
  klWeights: Float64Array[];
}

export interface LengthNorm {
  equation: string;
  /** The objective whose exact gradient the estimator has in expectation, or what is wrong with it. */
  claim: string;
  unbiased: boolean;
  /** `probabilities`: weight of each response in batch means; 1 each when absent (the oracle passes p̃(y)). */
  compute(terms: ReturnTerms, options: ReturnOptions, probabilities?: ArrayLike<number>): NormalisedReturns;
}

/**
 * Length normalisation of returns. It is not cosmetic: the sequence KL is a sum over tokens and so rewards short
 * responses; without any normalisation the students of the paper and of our own probe shrink their answers.
 *
 *     off          G_t                              objective E[Σ_t r_t]
 *     remaining    G_t / (L − t)       with r_t     no objective: the divisor depends on how the response went on,
 *                  G_t / (L − t − 1)   without      so the gradient is biased (MiniLLM section 2.2; LMOps losses.py)
 *     total        see totalReturns                 objective E[Σ_t r_t / T], unbiased for it
 *
 * t from 0, L = response tokens with EOS; without r_t the last token has return 0.
 */
export const lengthNorms = {
  remaining: {
    equation: 'G_t / (L−t) with r_t, G_t / (L−t−1) without (0 for the last token)',
    claim: 'biased: the divisor depends on the tokens after t',
    unbiased: false,
    compute(terms, options) {
      const ahead = (t: number, row: number): number =>
        terms.rewards[row]!.length - t - (options.includeReward ? 0 : 1);
      // Values estimate the normalised return; bootstrapping adds them to plain sums.
      const values = terms.values && mapTokens(terms.values, (v, t, row) => v * ahead(t, row));
      const returns = rewardToGo({ ...terms, ...(values && { values }) }, options);
      return {
        // The last token without r_t has nothing ahead: its return is 0 already and stays 0.
        returns: mapTokens(returns, (g, t, row) => g / Math.max(1, ahead(t, row))),
        klWeights: constantLike(returns, 1),
      };
    },
  },
  total: {
    equation:
      '(S−1)/T − c_t (S_{<t}−1) [− c_t r_t], KL_t weighted by c_t = mean of 1/T over the responses alive at t',
    claim: 'unbiased for E[Σ_t r_t / T] (c_t of a finite batch contains the row itself: O(1/rows) away)',
    unbiased: true,
    compute: totalReturns,
  },
  off: {
    equation: 'G_t',
    claim: 'unbiased for the sequence-level KL, which favours short responses',
    unbiased: true,
    compute(terms, options) {
      const returns = rewardToGo(terms, options);
      return { returns, klWeights: constantLike(returns, 1) };
    },
  },
} satisfies Record<string, LengthNorm>;

export type LengthNormName = keyof typeof lengthNorms;
export const lengthNormNames = Object.keys(lengthNorms) as [LengthNormName, ...LengthNormName[]];

/**
 * Returns for the objective J = E_q[Σ_t r_t / T], T the random length of the response.
 *
 * Derivation (ours). With S = Σ_t r_t and ∇r_t = −∇ln q(y_t),
 *
 *     ∇(−J) = −E Σ_t ∇ln q(y_t) (S − 1)/T
 *
 * Unlike in the plain objective neither the past rewards nor the 1 drop out, because T depends on y_t and on what
 * follows. Let c_t be any number that does not depend on y_t and later tokens. As a baseline c_t (S_{<t} − 1) is free,
 * and c_t r_t ∇ln q(y_t) has the expectation −c_t ∇KL_t, so the single-step term can take that share over exactly:
 *
 *     ∇(−J) = E Σ_t { c_t ∇KL_t − ∇ln q(y_t) [ (S−1)/T − c_t (S_{<t} − 1) − c_t r_t ] }
 *
 * With β r_t in place of r_t, S is β times as large and the 1, which comes from ∇S, becomes β.
 *
 * `rao-blackwell` further subtracts Σ_{k>t} c_k (r_k + KL_k), which has mean 0 given s_k. The nearer c_t is to 1/T, the
 * more cancels; here it is the mean of 1/T over the responses still alive at t. Under `prefix` weights everything with
 * 1/T needs the product of all factors after t, because T is known only at the end.
 *
 * @throws RangeError for γ ≠ 1, the objective has no discount, and for returns that bootstrap
 */
function totalReturns(
  terms: ReturnTerms,
  options: ReturnOptions,
  probabilities?: ArrayLike<number>,
): NormalisedReturns {
  if (options.gamma !== 1)
    throw new RangeError(`length_norm total has no discount: gamma ${options.gamma}, expected 1`);
  if (returnForms[options.form].needsValues)
    throw new RangeError(`length_norm total has no form for returns ${options.form}`);
  const { beta = 1 } = terms;
  const inverse = meanInverseLength(terms.rewards, probabilities);
  const returns = terms.rewards.map((r, row) => {
    const length = r.length;
    const step = terms.step[row]!;
    const expected = options.form === 'rao-blackwell' ? terms.expectedRewards?.[row] : r;
    if (!expected) throw new RangeError('returns rao-blackwell need expectedRewards');
    const total = sum(r, length);
    const result = new Float64Array(length);
    let tail = 1; // Π_{j>t} u_j
    let surprise = 0; // Σ_{k>t} (Π_{t<j≤k} u_j) c_k (r_k + KL_k)
    let past = total; // becomes S_{<t}
    for (let t = length - 1; t >= 0; t--) {
      past -= r[t]!;
      const own = options.includeReward ? 0 : inverse[t]! * r[t]!;
      result[t] = (tail * (total - beta)) / length - inverse[t]! * (past - beta) - own - surprise;
      surprise = step[t]! * (inverse[t]! * (r[t]! - expected[t]!) + surprise);
      tail *= step[t]!;
    }
    return result;
  });
  return { returns, klWeights: mapTokens(terms.rewards, (_, t) => inverse[t]!) };
}

function meanInverseLength(x: Ragged, probabilities?: ArrayLike<number>): Float64Array {
  const sums = new Float64Array(longest(x));
  const alive = new Float64Array(sums.length);
  x.forEach((values, row) => {
    const weight = probabilities ? probabilities[row]! : 1;
    for (let t = 0; t < values.length; t++) {
      sums[t]! += weight / values.length;
      alive[t]! += weight;
    }
  });
  return sums.map((s, t) => s / alive[t]!);
}

function sum(x: ArrayLike<number>, length: number): number {
  let total = 0;
  for (let t = 0; t < length; t++) total += x[t]!;
  return total;
}
