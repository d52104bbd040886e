import { UsageError } from '../errors.js';
import { longest, mapTokens, type Ragged } from './ragged.js';

/** Returns of a batch and what a baseline may know about it. */
export interface BaselineBatch {
  /** G_t per response and token. */
  returns: Ragged;
  /** Which prompt each response answers; equal numbers form the groups of `leave-one-out` and `group-normalised`. */
  groups?: ArrayLike<number>;
  /** R, the response slots of padded whitening; the longest response when absent. */
  slots?: number;
  /** Weight of each response in the means, 1 when absent. The oracle passes probabilities: the limit of a large batch. */
  probabilities?: ArrayLike<number>;
  /** V(s_t), an estimate of E[G_t | s_t]; `value` and `action-value` need it. */
  values?: Ragged;
  /** |w_t ∇ln q(y_t)|² in the logits of s_t; `score-weighted` needs it. */
  squaredScores?: Ragged;
  /** Of the batches before this one; `ema` reads it. */
  ema?: EmaState;
}

/** An exponential moving average of batch means, and all it needs to go on. JSON holds it to the bit. */
export interface EmaState {
  mean: number;
  /** 1 − d^n after n batches: what the weights of the batches so far add up to. */
  weight: number;
}

export const noEma: EmaState = { mean: 0, weight: 0 };

/**
 * The average after one more batch, weighing n batches with (1−d) d^(n−i), divided by the sum of these weights: the first
 * batch stands for itself.
 */
export function nextEma(before: EmaState, batch: BaselineBatch, decay: number): EmaState {
  const weight = decay * before.weight + (1 - decay);
  if (weight === 0) return before; // decay 1: nothing is ever learnt
  const { mean } = tokenMoments(batch);
  return { mean: (decay * before.weight * before.mean + (1 - decay) * mean) / weight, weight };
}

export interface Moments {
  mean: number;
  /** Population variance. */
  variance: number;
}

/** Over all tokens of the batch, each response with its weight. */
export function tokenMoments(batch: BaselineBatch): Moments {
  const tokens = sumTokens(batch, () => 1);
  if (tokens === 0) return { mean: 0, variance: 0 };
  const mean = sumTokens(batch, (g) => g) / tokens;
  return { mean, variance: sumTokens(batch, (g) => (g - mean) ** 2) / tokens };
}

/** Over all B·R slots, padding counted as 0. */
export function slotMoments(batch: BaselineBatch): Moments {
  const most = longest(batch.returns);
  const slots = batch.slots || most;
  if (most > slots) {
    throw new UsageError(
      `objective: max_response ${slots} is shorter than a response of ${most} tokens; padded whitening needs at least that many slots (0 = the longest)`,
    );
  }
  if (slots === 0) return { mean: 0, variance: 0 };
  const rows = batch.returns.reduce((sum, _, row) => sum + weightOf(batch, row), 0);
  const cells = rows * slots;
  const mean = sumTokens(batch, (g) => g) / cells;
  const padding = cells - sumTokens(batch, () => 1);
  return { mean, variance: (sumTokens(batch, (g) => (g - mean) ** 2) + padding * mean ** 2) / cells };
}

/** Inside the square root of whitening, as in LMOps (utils.py whiten). */
const whiteningEpsilon = 1e-8;

/** (G − mean) / sqrt(variance + 1e-8) at every token. */
export function standardise(returns: Ragged, moments: Moments): Float64Array[] {
  const scale = whiteningScale(moments);
  return mapTokens(returns, (g) => (g - moments.mean) * scale);
}

export function whiteningScale({ variance }: Moments): number {
  return 1 / Math.sqrt(variance + whiteningEpsilon);
}

/** Mean of G_t over the responses alive at t. */
export function positionMeans(batch: BaselineBatch): Float64Array {
  const sums = new Float64Array(longest(batch.returns));
  const alive = new Float64Array(sums.length);
  batch.returns.forEach((values, row) => {
    for (let t = 0; t < values.length; t++) {
      sums[t]! += weightOf(batch, row) * values[t]!;
      alive[t]! += weightOf(batch, row);
    }
  });
  return sums.map((s, t) => (alive[t] === 0 ? 0 : s / alive[t]!));
}

/** Σ n G / Σ n over all tokens, n = `squaredScores`; 0 where no token has a score. */
export function scoreWeightedMean(batch: BaselineBatch): number {
  const { squaredScores } = batch;
  if (!squaredScores)
    throw new UsageError(
      'objective: baseline score-weighted needs Σ_v q(v)² at every sampled state, and these rollouts hold none',
    );
  const weight = sumTokens(batch, (_, t, row) => squaredScores[row]![t]!);
  return weight === 0 ? 0 : sumTokens(batch, (g, t, row) => squaredScores[row]![t]! * g) / weight;
}

/** Advantages of every prompt's K responses by themselves, K ≥ 2. */
export function groupByGroup(
  batch: BaselineBatch,
  baseline: string,
  ofSamples: (returns: Ragged) => Float64Array[],
): Float64Array[] {
  if (!batch.groups)
    throw new UsageError(`objective: baseline ${baseline} needs to know the prompt of each response`);
  const groups = new Map<number, number[]>();
  batch.returns.forEach((_, row) => {
    const key = batch.groups![row]!;
    const members = groups.get(key);
    if (members) members.push(row);
    else groups.set(key, [row]);
  });
  const result: Float64Array[] = [];
  for (const [key, rows] of groups) {
    if (rows.length < 2) {
      throw new UsageError(
        `objective: baseline ${baseline} found one sample of prompt ${key}, expected at least 2; raise the samples per prompt or choose baseline position`,
      );
    }
    const own = ofSamples(rows.map((row) => batch.returns[row]!));
    rows.forEach((row, k) => {
      result[row] = own[k]!;
    });
  }
  return result;
}

function weightOf(batch: BaselineBatch, row: number): number {
  return batch.probabilities ? batch.probabilities[row]! : 1;
}

/** Σ over responses of weight·f(G_t). */
function sumTokens(batch: BaselineBatch, f: (g: number, t: number, row: number) => number): number {
  let total = 0;
  batch.returns.forEach((values, row) => {
    const weight = weightOf(batch, row);
    for (let t = 0; t < values.length; t++) total += weight * f(values[t]!, t, row);
  });
  return total;
}
