import { pairedDifference, summarize } from '../evaluation/metrics/statistics.js';
import type { Entry } from './entries.js';
import type { MetricSummary } from './evaluationFile.js';

/*
 * The one rule of the page. An interval covers 95 %: over prompts (bootstrap) for a model that was trained once, over
 * training seeds (Student's t) for one that was trained with several. Two models are compared by the interval of their
 * difference, prompt by prompt or seed by seed; they differ clearly where it keeps clear of zero.
 */

export const intervalRule =
  'Every interval covers 95 %: over prompts (bootstrap) for a model that was trained once, over training seeds (Student’s t) for one that was trained with several. Two models are compared by the interval of their difference on the same prompts, prompt by prompt or seed by seed, and differ “clearly” where it keeps clear of zero; their own intervals may overlap all the same, since what makes a prompt hard is common to both.';

/** 97.5 % points of Student's t for 1 to 30 degrees of freedom; beyond them the normal's 1.96 is near enough. */
const tPoints = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];
const tPoint = (freedom: number): number => tPoints[Math.max(1, Math.floor(freedom)) - 1] ?? 1.96;

/** The 95 % interval of a number: the bootstrap's if there is one, else mean ± t · standard error of n values. */
export function shownInterval({ mean, stderr, n, interval }: MetricSummary): [number, number] | null {
  if (interval) return interval;
  if (stderr === null) return null;
  const t = tPoint(n - 1);
  return [mean - t * stderr, mean + t * stderr];
}

/** What the interval of a number is over, in words. */
export function intervalBasis({ runs }: Pick<Entry, 'runs'>, { n, interval }: MetricSummary): string {
  if (runs.length > 1) return `over ${runs.length} training seeds`;
  return interval ? 'over prompts' : `from ${n} values`;
}

export interface Difference {
  mean: number;
  /** Its 95 % interval. */
  low: number;
  high: number;
  stderr: number;
  /** How many pairs; null where nothing was paired. */
  n: number | null;
  /** What was paired: nothing where the two have no prompts in common. */
  paired: 'seeds' | 'prompts' | 'nothing';
}

const known = new WeakMap<Entry, WeakMap<Entry, Map<string, Difference | null>>>();

/** Metric of a minus metric of b with its interval; null where one of them, or any uncertainty, is missing. */
export function difference(a: Entry, b: Entry, name: string): Difference | null {
  const others = known.get(a) ?? new WeakMap<Entry, Map<string, Difference | null>>();
  known.set(a, others);
  const found = others.get(b) ?? new Map<string, Difference | null>();
  others.set(b, found);
  if (!found.has(name)) found.set(name, computed(a, b, name));
  return found.get(name)!;
}

/** The difference is positive, and its interval keeps clear of zero. */
export function clearlyAbove(a: Entry, b: Entry, name: string): boolean {
  return (difference(a, b, name)?.low ?? 0) > 0;
}

function computed(a: Entry, b: Entry, name: string): Difference | null {
  const [x, y] = [a.evaluation[name], b.evaluation[name]];
  if (!x || !y) return null;
  const samePrompts = a.evaluated.promptSet !== null && a.evaluated.promptSet === b.evaluated.promptSet;
  if (samePrompts && (a.runs.length > 1 || b.runs.length > 1)) {
    const bySeed = seedDifferences(a, b, name);
    if (bySeed) return { ...spanned(summarize(bySeed)), paired: 'seeds' };
  } else if (samePrompts) {
    const [own, theirs] = [a.evaluated.perPrompt[name], b.evaluated.perPrompt[name]];
    if (own && own.length > 1 && theirs?.length === own.length)
      return { ...spanned(pairedDifference(own, theirs, { seed: 0, name })), paired: 'prompts' };
  }
  return apart(x, y);
}

/** Seed by seed. What was trained once (a teacher, a starting student) is the same for every seed of the other. */
function seedDifferences(a: Entry, b: Entry, name: string): number[] | undefined {
  const bySeed = ({ runs }: Entry) =>
    new Map(runs.map((run) => [run.config.seed, run.evaluation[name]!.mean]));
  const [x, y] = [bySeed(a), bySeed(b)];
  const seeds = [...(x.size > 1 ? x : y).keys()];
  const value = (of: Map<unknown, number>, seed: unknown): number | undefined =>
    of.size > 1 ? of.get(seed) : [...of.values()][0];
  const differences = seeds.flatMap((seed) => {
    const [own, theirs] = [value(x, seed), value(y, seed)];
    return own === undefined || theirs === undefined ? [] : [own - theirs];
  });
  const whole = differences.length === Math.max(x.size, y.size);
  return whole && differences.length > 1 ? differences : undefined;
}

function spanned(summary: MetricSummary): Omit<Difference, 'paired'> {
  const [low, high] = shownInterval(summary)!;
  return { mean: summary.mean, low, high, stderr: summary.stderr!, n: summary.n };
}

/** Nothing to pair: Welch's interval, from the standard errors that the two intervals stand for. */
function apart(x: MetricSummary, y: MetricSummary): Difference | null {
  const parts = [x, y].map((summary) => {
    const { stderr, n, interval } = summary;
    if (interval) return { error: (interval[1] - interval[0]) / 2 / 1.96, freedom: Number.POSITIVE_INFINITY };
    return stderr === null ? null : { error: stderr, freedom: Math.max(1, n - 1) };
  });
  if (parts.some((part) => part === null)) return null;
  const [p, q] = parts as [{ error: number; freedom: number }, { error: number; freedom: number }];
  const error = Math.hypot(p.error, q.error);
  const spread = p.error ** 4 / p.freedom + q.error ** 4 / q.freedom;
  const half = tPoint(spread > 0 ? error ** 4 / spread : Number.POSITIVE_INFINITY) * error;
  const mean = x.mean - y.mean;
  return { mean, low: mean - half, high: mean + half, stderr: error, n: null, paired: 'nothing' };
}
