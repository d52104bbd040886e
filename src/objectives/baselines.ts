import { UsageError } from '../errors.js';
import {
  type BaselineBatch,
  groupByGroup,
  noEma,
  positionMeans,
  scoreWeightedMean,
  slotMoments,
  standardise,
  tokenMoments,
} from './batchStatistics.js';
import { longest, mapTokens, type Ragged } from './ragged.js';

export interface Baseline {
  equation: string;
  /** True when E[A_t ∇ln q(y_t)] keeps its value, at least as the batch grows. */
  unbiased: boolean;
  claim: string;
  cost: string;
  /** Of a baseline that takes the other samples of the prompt: the advantages of its K ≥ 2 samples from their returns. */
  ofSamples?: (returns: Ragged) => Float64Array[];
  /** Reads V(s_t) of a head. */
  ofValues?: true;
  /** Reads D(s,a) = Q(s,a) − V(s) of every action, with which the loss goes on from A_t (minillmLoss.ts). */
  ofActions?: true;
  /** The advantages A_t = G_t − b, or the standardised returns. */
  advantages(batch: BaselineBatch): Float64Array[];
}

/**
 * Baselines: what is taken from the return before it multiplies ∇ln q(y_t). E[∇ln q(y_t) | s_t] = 0, so any b that does
 * not depend on y_t leaves the gradient as it is and only changes its variance (Williams 1992). n_t is the number of
 * responses alive at t, those with more than t tokens.
 *
 * A mean that contains the row itself shrinks the long-term term: given the states at t, the scores of different rows
 * are independent with mean 0, so E[∇ln q(y_t^i) (G^i − mean_j G^j)] = (1 − 1/n_t) E[∇ln q(y_t^i) G^i]. The term at t
 * loses the factor (n_t − 1)/n_t and its direction stays; test/oracle/samples.test.ts proves it by enumerating pairs.
 */
const entries = {
  none: {
    equation: 'A_t = G_t',
    unbiased: true,
    claim: 'exact',
    cost: 'none',
    advantages: (batch) => mapTokens(batch.returns, (g) => g),
  },
  batch: {
    equation: 'A_t = G_t − mean of G over all tokens of the batch',
    unbiased: true,
    claim: 'exact for a large batch; off by O(1/tokens) because the mean contains the row itself',
    cost: 'none',
    advantages(batch) {
      const { mean } = tokenMoments(batch);
      return mapTokens(batch.returns, (g) => g - mean);
    },
  },
  position: {
    equation: 'A_t = G_t − mean of G_t over the responses alive at t',
    unbiased: true,
    claim: 'exact for a large batch; in a finite one the long-term term at t shrinks by (n_t − 1)/n_t',
    cost: 'none',
    advantages(batch) {
      const means = positionMeans(batch);
      return mapTokens(batch.returns, (g, t) => g - means[t]!);
    },
  },
  ema: {
    equation: 'A_t = G_t − m, m the exponential moving average of the means of earlier batches',
    unbiased: true,
    claim:
      'exact where no earlier batch held the same response (the first pass over a round); m lags behind the student',
    cost: 'two numbers that are part of the training state',
    advantages: (batch) => mapTokens(batch.returns, (g) => g - (batch.ema ?? noEma).mean),
  },
  'leave-one-out': {
    equation:
      'A_{i,t} = G_{i,t} − Σ_{j≠i} G_{j,t} / (K − 1), over the K samples of one prompt; 0 for a finished one',
    unbiased: true,
    claim:
      'exact for every K ≥ 2 of independent samples: the baseline never contains the sample itself; biased for dependent ones',
    cost: 'K samples per prompt (one shared prefill)',
    ofSamples: leaveOneOut,
    advantages: (batch) => groupByGroup(batch, 'leave-one-out', leaveOneOut),
  },
  'group-normalised': {
    equation:
      'A_t = (G_t − mean) / sqrt(var + 1e-8), population moments over the tokens of the K samples of one prompt',
    unbiased: false,
    claim:
      'biased: the mean contains the sample itself, and each prompt is rescaled by its own spread (GRPO)',
    cost: 'K samples per prompt (one shared prefill)',
    ofSamples: groupNormalised,
    advantages: (batch) => groupByGroup(batch, 'group-normalised', groupNormalised),
  },
  whiten: {
    equation: 'A_t = (G_t − mean) / sqrt(var + 1e-8), population moments over the tokens',
    unbiased: false,
    claim: 'biased: rescales the long-term term against the single-step term by the spread of the batch',
    cost: 'none',
    advantages: (batch) => standardise(batch.returns, tokenMoments(batch)),
  },
  'whiten-padded': {
    equation: 'the same with moments over all B·R slots, padding counted as 0',
    unbiased: false,
    claim: 'biased, and its mean is no baseline: an accident of the reference implementation (LMOps)',
    cost: 'none',
    advantages: (batch) => standardise(batch.returns, slotMoments(batch)),
  },
  'score-weighted': {
    equation:
      'A_t = G_t − Σ n G / Σ n over the tokens, n_t = w_t² (1 − 2 q(y_t) + Σ_v q(v)²) = |w_t ∇ln q(y_t)|²',
    unbiased: true,
    claim:
      'exact for a large batch; the constant of least variance in the logits (not in the parameters of a network)',
    cost: 'Σ_v q(v)² per token, recorded while sampling',
    advantages(batch) {
      const mean = scoreWeightedMean(batch);
      return mapTokens(batch.returns, (g) => g - mean);
    },
  },
  value: {
    equation: 'A_t = G_t − V(s_t)',
    unbiased: true,
    claim:
      'exact for any V that is not fitted to the same responses; with the mean of G_t at s_t all that a baseline of the state can do',
    cost: 'a value head: one more pass of the student over the responses, and its training',
    ofValues: true,
    advantages: (batch) => withoutValues(batch, 'value'),
  },
  /**
   * The action-dependent control variate (Gu et al., Q-Prop, arXiv 1611.02247; Liu et al., arXiv 1710.11198), exact over all tokens
   * where they expand or sample: what Q says of every action is differentiated exactly, and the sample corrects by what Q missed,
   *
   *     E_q[G_t ∇ln q(y_t)] = Σ_a ∇q(a|s_t) Q(s_t,a) + E_q[(G_t − Q(s_t,y_t)) ∇ln q(y_t)]     for any Q that knows nothing of y_t.
   *
   * Q(s,a) = V(s) + D(s,a): V leaves the sum over actions, Σ_a ∇q(a|s) V(s) = 0, so that here only A_t = G_t − V(s_t) is made, and the
   * loss does the rest with D.
   */
  'action-value': {
    equation: 'A_t = G_t − Q(s_t, y_t), and Σ_a ∇q(a|s_t) Q(s_t, a) without noise; Q(s,a) = V(s) + D(s,a)',
    unbiased: true,
    claim:
      'exact for any Q that is not fitted to the same responses; with the exact Q only the noise of what follows y_t is left of the long-term term',
    cost: 'that of value, and in every update the output head once more over the response tokens; the head of actions is a D × D matrix',
    ofValues: true,
    ofActions: true,
    advantages: (batch) => withoutValues(batch, 'action-value'),
  },
} satisfies Record<string, Baseline>;

export type BaselineName = keyof typeof entries;
export const baselines: Record<BaselineName, Baseline> = entries;
export const baselineNames = Object.keys(baselines) as [BaselineName, ...BaselineName[]];

function withoutValues({ returns, values }: BaselineBatch, baseline: string): Float64Array[] {
  if (!values)
    throw new UsageError(`objective: baseline ${baseline} needs the values V(s_t) of a value head`);
  return mapTokens(returns, (g, t, row) => g - values[row]![t]!);
}

function leaveOneOut(returns: Ragged): Float64Array[] {
  const sums = new Float64Array(longest(returns));
  for (const row of returns) for (let t = 0; t < row.length; t++) sums[t]! += row[t]!;
  return mapTokens(returns, (g, t) => g - (sums[t]! - g) / (returns.length - 1));
}

function groupNormalised(returns: Ragged): Float64Array[] {
  return standardise(returns, tokenMoments({ returns }));
}
