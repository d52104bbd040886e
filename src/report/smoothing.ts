/** A logged value with its neighbourhood: running mean, and one standard deviation to both sides. */
export interface SmoothPoint {
  step: number;
  value: number;
  mean: number;
  low: number;
  high: number;
}

/** Below this many points nothing is smoothed: each was worth measuring on its own (a validation), and is drawn. */
export const fewPoints = 24;

/**
 * Centred running mean and population standard deviation over a window of about a twelfth of the series. At the ends
 * the window shrinks on both sides alike, so that a slope is not bent there.
 */
export function smooth(points: readonly { step: number; value: number }[]): SmoothPoint[] {
  const radius = points.length < fewPoints ? 0 : Math.max(1, Math.round(points.length / 24));
  return points.map(({ step, value }, i) => {
    const reach = Math.min(radius, i, points.length - 1 - i);
    const window = points.slice(i - reach, i + reach + 1).map((point) => point.value);
    const mean = window.reduce((sum, x) => sum + x, 0) / window.length;
    const deviation = Math.sqrt(window.reduce((sum, x) => sum + (x - mean) ** 2, 0) / window.length);
    return { step, value, mean, low: mean - deviation, high: mean + deviation };
  });
}

/** At most `most` points, evenly spaced, the first and the last among them: a line needs no more than the pixels. */
export function thin<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]!);
}
