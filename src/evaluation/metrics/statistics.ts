import { createRequire } from 'node:module';
import { integer, stream } from '../../random/streams.js';

// The library's one-file build, loaded when the first number is summarised: its 650 modules one by one cost every command a
// second before it begins.
const require = createRequire(import.meta.url);
const mathjs = (): typeof import('mathjs') => require('mathjs/lib/browser/math.js');

/** A number with its uncertainty: what evaluation.json holds for every metric. */
export interface Summary {
  mean: number;
  /** Standard error of the mean, s/√n with the n−1 standard deviation; null when n = 1. */
  stderr: number | null;
  /** How many values were averaged (prompts, responses or seeds). */
  n: number;
  /** 95 % bootstrap interval, where one was computed. */
  interval?: [low: number, high: number];
}

/** Where the resampling takes its randomness, and how much of it. */
export interface BootstrapOptions {
  seed: number | string;
  /** Part of the stream's address, so that two metrics of one evaluation resample independently. */
  name?: string;
  /** Number of resamples (default 1000). */
  resamples?: number;
  /** Coverage (default 0.95). */
  level?: number;
}

/** Mean and standard error. @throws RangeError for an empty list: a mean of nothing is no number to report. */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('summarize needs at least one value');
  const { mean, std } = mathjs();
  const average = Number(mean([...values]));
  const stderr = values.length === 1 ? null : Number(std([...values])) / Math.sqrt(values.length);
  return { mean: average, stderr, n: values.length };
}

/**
 * Percentile bootstrap interval of the mean (Efron, "Bootstrap methods: another look at the jackknife", 1979): the
 * mean of n values drawn with replacement, repeated, and the (1∓level)/2 quantiles of those means.
 * The stream is `stream(seed, 'bootstrap', name)`; the same call gives the same interval.
 */
export function bootstrapInterval(
  values: readonly number[],
  options: BootstrapOptions,
): [low: number, high: number] {
  const { seed, name = '', resamples = 1000, level = 0.95 } = options;
  if (values.length === 0) throw new RangeError('bootstrapInterval needs at least one value');
  if (values.some((value) => !Number.isFinite(value))) return [Number.NaN, Number.NaN];
  const drawn = draws(seed, name, resamples, values.length);
  const means = Array.from({ length: resamples }, (_, r) => {
    let sum = 0;
    for (let i = r * values.length; i < (r + 1) * values.length; i++) sum += values[drawn[i]!]!;
    return sum / values.length;
  });
  const tail = (1 - level) / 2;
  const { quantileSeq } = mathjs();
  // Sorted first: of an unsorted list mathjs takes random pivots, and rounds the same quantile in one way or another.
  means.sort((a, b) => a - b);
  return [Number(quantileSeq(means, tail, true)), Number(quantileSeq(means, 1 - tail, true))];
}

/** Which values each resample takes. Kept until others are asked for: a report compares many models in one metric. */
function draws(seed: number | string, name: string, resamples: number, n: number): Uint32Array {
  const address = JSON.stringify([seed, name, resamples, n]);
  if (kept.address !== address) {
    const rng = stream(seed, 'bootstrap', name);
    kept = { address, drawn: Uint32Array.from({ length: resamples * n }, () => integer(rng, n)) };
  }
  return kept.drawn;
}
let kept = { address: '', drawn: new Uint32Array() };

/**
 * A metric measured with several sampling seeds on the same prompts: `perSeed[s][i]` for seed s and prompt i.
 * Mean and standard error are over the seeds' means (n = seeds); the interval resamples prompts, each prompt standing
 * for its mean over seeds, so it shows the noise of the choice of prompts, which more seeds do not remove.
 */
export function overSeeds(perSeed: readonly (readonly number[])[], options: BootstrapOptions): Summary {
  const prompts = perSeed[0]?.length ?? 0;
  if (prompts === 0 || perSeed.some((values) => values.length !== prompts)) {
    throw new RangeError(
      `every seed needs the same prompts, got ${perSeed.map((v) => v.length).join(', ')} values`,
    );
  }
  const seeds = summarize(perSeed.map((values) => summarize(values).mean));
  const byPrompt = Array.from(
    { length: prompts },
    (_, i) => summarize(perSeed.map((values) => values[i]!)).mean,
  );
  return { ...seeds, interval: bootstrapInterval(byPrompt, options) };
}

/**
 * Method a minus method b on the same prompts: mean, standard error and bootstrap interval of the differences. Far
 * narrower than the two separate errors, since what makes a prompt hard is common to both.
 */
export function pairedDifference(
  a: readonly number[],
  b: readonly number[],
  options: BootstrapOptions,
): Summary {
  if (a.length !== b.length)
    throw new RangeError(`paired values differ in number: ${a.length} and ${b.length}`);
  const differences = a.map((value, i) => value - b[i]!);
  return { ...summarize(differences), interval: bootstrapInterval(differences, options) };
}
