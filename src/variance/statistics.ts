import { integer, stream } from '../random/streams.js';

/** Scalar products of M repeated estimates g_i of one gradient with one another: entry [i][j] = ⟨g_i, g_j⟩. */
export type Gram = readonly Float64Array[];

/** What the statistics of one estimator are made of. Repeat i of both gradients may be of the same rollouts. */
export interface Products {
  /** ⟨g_i, g_j⟩ of the estimator. */
  own: Gram;
  /** ⟨g_i, r_j⟩ with the reference estimator's repeats. */
  cross: Gram;
  /** ⟨r_i, r_j⟩ of the reference estimator. */
  reference: Gram;
  /** Rollouts in one estimate. */
  rollouts: number;
}

/** A number and its 95 % bootstrap interval over repeats. */
export interface Estimate {
  value: number;
  interval: [low: number, high: number];
}

export interface VarianceStatistics {
  /** Trace of the covariance of one estimate. */
  variance: Estimate;
  /** tr Cov(g) over that of the reference, from the same resamples: what counts where both have the same mean. */
  relative_variance: Estimate;
  /** |E g|², without the noise that is in the norm of a mean. */
  squared_norm: Estimate;
  /** |E g|² / tr Cov(g) of one estimate. */
  signal_to_noise: Estimate;
  /** Rollouts for which the signal-to-noise ratio reaches the target: rollouts · target / signal_to_noise. */
  rollouts_needed: Estimate;
  /** Those of the estimator over those of the reference, from the same resamples. */
  relative_rollouts: Estimate;
  /** Of one estimate with the mean of the reference: ⟨E g, E r⟩ / √(E|g|² |E r|²). */
  cosine: Estimate;
  /** Of the two means: ⟨E g, E r⟩ / (|E g| |E r|). Below 1: the estimator has another direction in expectation. */
  mean_cosine: Estimate;
}

export interface StatisticsOptions {
  seed: number;
  /** The signal-to-noise ratio that `rollouts_needed` asks for (default 1). */
  target?: number;
  /** Bootstrap resamples (default 1000). */
  resamples?: number;
}

/**
 * Variance, signal and direction of a gradient estimator from M repeats, M ≥ 2.
 *
 * Every moment is a mean over pairs of different repeats (a U-statistic), hence unbiased:
 *
 *     tr Cov(g)   = E ½|g_i − g_j|²     (its mean over all pairs is Σ|g_i − ḡ|²/(M−1))
 *     |E g|²      = E ⟨g_i, g_j⟩
 *     ⟨E g, E r⟩  = E ⟨g_i, r_j⟩
 *
 * Pairs i = j are left out, since the squared norm of a mean contains 1/M of the variance, and g_i and r_i may come from the
 * same rollouts. The interval is the percentile bootstrap over repeats (Efron 1979); all estimators with the same seed
 * and M meet the same resamples, so that their ratios are paired. What is not a number (a squared norm that noise made
 * negative) is Infinity rollouts and cosine 0.
 *
 * @throws RangeError for fewer than two repeats
 */
export function varianceStatistics(products: Products, options: StatisticsOptions): VarianceStatistics {
  const repeats = products.own.length;
  if (repeats < 2) throw new RangeError(`${repeats} repeats, expected at least 2`);
  const { seed, target = 1, resamples = 1000 } = options;
  const once = new Float64Array(repeats).fill(1);
  const value = derive(products, once, target);
  const rng = stream(seed, 'bootstrap', 'repeats', repeats);
  const draws: Derived[] = [];
  while (draws.length < resamples) {
    const counts = new Float64Array(repeats);
    for (let i = 0; i < repeats; i++) counts[integer(rng, repeats)]!++;
    // One repeat drawn every time has no pairs to say anything about.
    if (!counts.includes(repeats)) draws.push(derive(products, counts, target));
  }
  const estimate = (name: keyof Derived): Estimate => {
    const all = draws.map((draw) => draw[name]).sort((a, b) => a - b);
    // Order statistics, not interpolated: some draws may be Infinity.
    const at = (p: number): number => all[Math.round(p * (all.length - 1))]!;
    return { value: value[name], interval: [at(0.025), at(0.975)] };
  };
  return {
    variance: estimate('variance'),
    relative_variance: estimate('relative_variance'),
    squared_norm: estimate('squared_norm'),
    signal_to_noise: estimate('signal_to_noise'),
    rollouts_needed: estimate('rollouts_needed'),
    relative_rollouts: estimate('relative_rollouts'),
    cosine: estimate('cosine'),
    mean_cosine: estimate('mean_cosine'),
  };
}

type Derived = Record<keyof VarianceStatistics, number>;

/** All numbers, with repeat i counted `counts[i]` times. */
function derive(products: Products, counts: Float64Array, target: number): Derived {
  const own = moments(products.own, counts);
  const reference = moments(products.reference, counts);
  const cross = pairMean(products.cross, counts);
  const snr = ratio(own);
  const needed = (products.rollouts * target) / snr;
  const referenceNeeded = (products.rollouts * target) / ratio(reference);
  return {
    variance: own.variance,
    relative_variance: own.variance / reference.variance,
    squared_norm: own.mean,
    signal_to_noise: snr,
    rollouts_needed: needed,
    relative_rollouts: needed / referenceNeeded,
    cosine: cosine(cross, own.mean + own.variance, reference.mean),
    mean_cosine: cosine(cross, own.mean, reference.mean),
  };
}

function ratio({ mean, variance }: { mean: number; variance: number }): number {
  return Math.max(0, mean) / variance;
}

function cosine(product: number, a: number, b: number): number {
  return a > 0 && b > 0 ? product / Math.sqrt(a * b) : 0;
}

/** |E g|² and tr Cov(g). */
function moments(gram: Gram, counts: Float64Array): { mean: number; variance: number } {
  const mean = pairMean(gram, counts);
  let [squares, weights] = [0, 0];
  const total = counts.reduce((sum, c) => sum + c, 0);
  counts.forEach((c, i) => {
    // Each repeat stands in as many pairs as there are others.
    squares += c * (total - c) * gram[i]![i]!;
    weights += c * (total - c);
  });
  return { mean, variance: squares / weights - mean };
}

/** Mean over pairs of different repeats, each counted as often as it was drawn. */
function pairMean(gram: Gram, counts: Float64Array): number {
  let [sum, weights] = [0, 0];
  gram.forEach((row, i) => {
    if (counts[i] === 0) return;
    let inner = 0;
    for (let j = 0; j < row.length; j++) {
      if (j === i) continue;
      inner += counts[j]! * row[j]!;
      weights += counts[i]! * counts[j]!;
    }
    sum += counts[i]! * inner;
  });
  return sum / weights;
}
