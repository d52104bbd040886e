import { UsageError } from '../errors.js';
import { longest, mapTokens, type Ragged } from './ragged.js';

/** Returns of a batch and what a baseline may know about it. */
export interface BaselineBatch {
  /** G_t per response and token. */
  returns: Ragged;
  /** Which prompt each response answers; equal numbers form the groups of `leave-one-out`. */
  groups?: ArrayLike<number>;
  /** R, the response slots of padded whitening; the longest response when absent. */
  slots?: number;
  /** Weight of each response in the means, 1 when absent. The oracle passes probabilities: the limit of a large batch. */
  probabilities?: ArrayLike<number>;
}

export interface Baseline {
  equation: string;
  /** True when E[A_t ∇ln q(y_t)] keeps its value, at least as the batch grows. */
  unbiased: boolean;
  claim: string;
  cost: string;
  /** The advantages A_t = G_t − b, or the whitened returns. */
  advantages(batch: BaselineBatch): Float64Array[];
}

/** Inside the square root of whitening, as in LMOps (utils.py whiten). */
const whiteningEpsilon = 1e-8;

/**
 * Baselines: what is taken from the return before it multiplies ∇ln q(y_t). E[∇ln q(y_t) | s_t] = 0, so any b that does
 * not depend on y_t leaves the gradient as it is and only changes its variance (Williams 1992). n_t is the number of
 * responses alive at t, those with more than t tokens.
 *
 * A mean that contains the row itself shrinks the long-term term: given the states at t, the scores of different rows
 * are independent with mean 0, so E[∇ln q(y_t^i) (G^i − mean_j G^j)] = (1 − 1/n_t) E[∇ln q(y_t^i) G^i]. The term at t
 * loses the factor (n_t − 1)/n_t and its direction stays; test/oracle/leaveOneOut.test.ts proves it by enumerating pairs.
 */
export const baselines = {
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
  'leave-one-out': {
    equation:
      'A_{i,t} = G_{i,t} − Σ_{j≠i} G_{j,t} / (K − 1), over the K samples of one prompt; 0 for a finished one',
    unbiased: true,
    claim: 'exact for every K ≥ 2: the baseline never contains the sample itself',
    cost: 'K samples per prompt (one shared prefill)',
    advantages: leaveOneOut,
  },
  whiten: {
    equation: 'A_t = (G_t − mean) / sqrt(var + 1e-8), population moments over the tokens',
    unbiased: false,
    claim: 'biased: rescales the long-term term against the single-step term by the spread of the batch',
    cost: 'none',
    advantages(batch) {
      return standardise(batch.returns, tokenMoments(batch));
    },
  },
  'whiten-padded': {
    equation: 'the same with moments over all B·R slots, padding counted as 0',
    unbiased: false,
    claim: 'biased, and its mean is no baseline: an accident of the reference implementation (LMOps)',
    cost: 'none',
    advantages(batch) {
      return standardise(batch.returns, slotMoments(batch));
    },
  },
} satisfies Record<string, Baseline>;

export type BaselineName = keyof typeof baselines;
export const baselineNames = Object.keys(baselines) as [BaselineName, ...BaselineName[]];

interface Moments {
  mean: number;
  /** Population variance. */
  variance: number;
}

/** Σ over responses of weight·f(G_t). */
function sumTokens(batch: BaselineBatch, f: (g: number) => number): number {
  let total = 0;
  batch.returns.forEach((values, row) => {
    const weight = batch.probabilities ? batch.probabilities[row]! : 1;
    for (let t = 0; t < values.length; t++) total += weight * f(values[t]!);
  });
  return total;
}

function tokenMoments(batch: BaselineBatch): Moments {
  const tokens = sumTokens(batch, () => 1);
  if (tokens === 0) return { mean: 0, variance: 0 };
  const mean = sumTokens(batch, (g) => g) / tokens;
  return { mean, variance: sumTokens(batch, (g) => (g - mean) ** 2) / tokens };
}

function slotMoments(batch: BaselineBatch): Moments {
  const most = longest(batch.returns);
  const slots = batch.slots || most;
  if (most > slots) {
    throw new UsageError(
      `objective: max_response ${slots} is shorter than a response of ${most} tokens; padded whitening needs at least that many slots (0 = the longest)`,
    );
  }
  if (slots === 0) return { mean: 0, variance: 0 };
  const rows = batch.returns.reduce(
    (sum, _, row) => sum + (batch.probabilities ? batch.probabilities[row]! : 1),
    0,
  );
  const cells = rows * slots;
  const mean = sumTokens(batch, (g) => g) / cells;
  const padding = cells - sumTokens(batch, () => 1);
  return { mean, variance: (sumTokens(batch, (g) => (g - mean) ** 2) + padding * mean ** 2) / cells };
}

function standardise(returns: Ragged, { mean, variance }: Moments): Float64Array[] {
  const scale = 1 / Math.sqrt(variance + whiteningEpsilon);
  return mapTokens(returns, (g) => (g - mean) * scale);
}

function positionMeans(batch: BaselineBatch): Float64Array {
  const sums = new Float64Array(longest(batch.returns));
  const alive = new Float64Array(sums.length);
  batch.returns.forEach((values, row) => {
    const weight = batch.probabilities ? batch.probabilities[row]! : 1;
    for (let t = 0; t < values.length; t++) {
      sums[t]! += weight * values[t]!;
      alive[t]! += weight;
    }
  });
  return sums.map((s, t) => (alive[t] === 0 ? 0 : s / alive[t]!));
}

function leaveOneOut(batch: BaselineBatch): Float64Array[] {
  if (!batch.groups)
    throw new UsageError('objective: baseline leave-one-out needs to know the prompt of each response');
  const slots = longest(batch.returns);
  const members = new Map<number, { count: number; sums: Float64Array }>();
  batch.returns.forEach((values, row) => {
    const key = batch.groups![row]!;
    const group = members.get(key) ?? { count: 0, sums: new Float64Array(slots) };
    members.set(key, group);
    group.count++;
    for (let t = 0; t < values.length; t++) group.sums[t]! += values[t]!;
  });
  return mapTokens(batch.returns, (g, t, row) => {
    const key = batch.groups![row]!;
    const { count, sums } = members.get(key)!;
    if (count < 2) {
      throw new UsageError(
        `objective: baseline leave-one-out found one sample of prompt ${key}, expected at least 2; raise the samples per prompt or choose baseline position`,
      );
    }
    return g - (sums[t]! - g) / (count - 1);
  });
}
