import { escapeHtml } from './escape.js';
import { brief, tick } from './format.js';
import type { Line, LinePoint } from './line.js';

/** A part of a figure that says its numbers: under the mouse without any script, at a touch with the page's. In pixels. */
export interface Hit {
  x: number;
  y: number;
  width: number;
  height: number;
  text: string;
}

export function hitsSvg(hits: readonly Hit[]): string {
  const place = (x: number): string => String(Math.round(10 * x) / 10);
  return hits
    .map(
      ({ x, y, width, height, text }) =>
        `<rect class="hit" x="${place(x)}" y="${place(y)}" width="${place(width)}" height="${place(height)}" fill="none" pointer-events="all"><title>${escapeHtml(text)}</title></rect>`,
    )
    .join('');
}

/** One strip across the figure for each of its rows (`rowScale`), the first on top. */
export function rowHits(
  texts: readonly string[],
  { width, top, bottom }: { width: number; top: number; bottom: number },
): Hit[] {
  const step = (bottom - top) / Math.max(1, texts.length - 0.4);
  const first = (top + bottom - step * (texts.length - 1)) / 2;
  return texts.map((text, i) => ({ x: 0, y: first + (i - 0.5) * step, width, height: step, text }));
}

/** Strips from left to right at most: a finger is no narrower. */
const mostStrips = 24;

/** Strips that say the value of every line, around the places of the line with the most points. */
export function lineHits(
  lines: readonly Pick<Line, 'label' | 'points'>[],
  {
    xLabel,
    pixel,
    top,
    bottom,
  }: { xLabel: string; pixel: (x: number) => number; top: number; bottom: number },
): Hit[] {
  const longest = lines.reduce((a, b) => (b.points.length > a.points.length ? b : a)).points;
  const count = Math.min(mostStrips, longest.length);
  const xs = [
    ...new Set(
      Array.from(
        { length: count },
        (_, i) => longest[Math.round((i * (longest.length - 1)) / Math.max(1, count - 1))]!.x,
      ),
    ),
  ].sort((a, b) => a - b);
  const reach = xs.length > 1 ? (pixel(xs.at(-1)!) - pixel(xs[0]!)) / (xs.length - 1) / 2 : 20;
  return xs.map((x, i) => {
    const from = i === 0 ? pixel(x) - reach : (pixel(xs[i - 1]!) + pixel(x)) / 2;
    const to = i === xs.length - 1 ? pixel(x) + reach : (pixel(x) + pixel(xs[i + 1]!)) / 2;
    const values = lines.flatMap(({ label, points }) => {
      const value = valueAt(points, x);
      return value === undefined ? [] : [`${label} ${brief(value)}`];
    });
    const text = [`${xLabel} ${tick(x)}`, ...values].join('\n');
    return { x: from, y: top, width: to - from, height: bottom - top, text };
  });
}

/** On the line between its points; nothing before its first and after its last. */
function valueAt(points: readonly LinePoint[], x: number): number | undefined {
  const next = points.findIndex((point) => point.x >= x);
  if (next < 0) return undefined;
  const [a, b] = [points[next - 1], points[next]!];
  if (b.x === x) return b.mean;
  return a && a.mean + ((b.mean - a.mean) * (x - a.x)) / (b.x - a.x);
}
