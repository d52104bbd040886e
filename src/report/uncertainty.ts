import type { MetricSummary } from './evaluationFile.js';

/** 97.5 % points of Student's t for 1 to 30 degrees of freedom; beyond them the normal's 1.96 is near enough. */
const tPoints = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** The 95 % interval that is drawn: the bootstrap's if there is one, else mean ± t · standard error of n values. */
export function shownInterval({ mean, stderr, n, interval }: MetricSummary): [number, number] | null {
  if (interval) return interval;
  if (stderr === null) return null;
  const t = tPoints[Math.max(1, Math.floor(n) - 1) - 1] ?? 1.96;
  return [mean - t * stderr, mean + t * stderr];
}

/** a − b is more than two standard errors of the difference; a missing error counts as none. */
export function clearlyAbove(a: MetricSummary, b: MetricSummary): boolean {
  return a.mean - b.mean > 2 * Math.hypot(a.stderr ?? 0, b.stderr ?? 0);
}
