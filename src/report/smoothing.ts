/** A logged value with its neighbourhood: smoothed, and one standard deviation to both sides. */
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
 * Local linear regression: each point's value on the least-squares line through the window around it (about a twelfth
 * of the series), and the standard deviation from that line. In the middle of an even series this is the running
 * mean; at the ends, where the window is one-sided, the line keeps a slope from being bent.
 */
export function smooth(points: readonly { step: number; value: number }[]): SmoothPoint[] {
  const [least, most] = bounds(points.map(({ value }) => value));
  const radius = points.length < fewPoints ? 0 : Math.max(1, Math.round(points.length / 24));
  return points.map(({ step, value }, i) => {
    const window = points.slice(Math.max(0, i - radius), i + radius + 1);
    const n = window.length;
    const center = window.reduce((sum, p) => sum + p.step, 0) / n;
    const level = window.reduce((sum, p) => sum + p.value, 0) / n;
    const spread = window.reduce((sum, p) => sum + (p.step - center) ** 2, 0);
    const slope =
      spread === 0 ? 0 : window.reduce((sum, p) => sum + (p.step - center) * (p.value - level), 0) / spread;
    const mean = level + slope * (step - center);
    const residual = (p: { step: number; value: number }): number =>
      p.value - level - slope * (p.step - center);
    const deviation = Math.sqrt(window.reduce((sum, p) => sum + residual(p) ** 2, 0) / n);
    return {
      step,
      value,
      mean,
      low: Math.max(least, mean - deviation),
      high: Math.min(most, mean + deviation),
    };
  });
}

/** What a band or an axis must not leave: numbers that are all shares stay in [0, 1], those of one sign on their side of 0. */
export function bounds(values: readonly number[]): [least: number, most: number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return [low >= 0 ? 0 : -Infinity, low >= 0 && high <= 1 ? 1 : high <= 0 ? 0 : Infinity];
}

/** At most `most` points, evenly spaced, the first and the last among them: a line needs no more than the pixels. */
export function thin<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]!);
}
