import * as Plot from '@observablehq/plot';
import { csv } from './escape.js';
import { clip, drawSvg, type Figure } from './figure.js';
import { brief, tick } from './format.js';
import { fewPoints, type SmoothPoint, thin } from './smoothing.js';

/** One line of a panel. */
export interface Series {
  run: string;
  phase: string;
  label: string;
  color: string;
  points: SmoothPoint[];
}

const size = { width: 340, height: 226, top: 28, left: 46, bottom: 38 };

/** Moves labels apart to at least `gap` pixels, keeping their order, within [top, bottom]. */
export function spreadLabels(wanted: readonly number[], gap: number, top: number, bottom: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const placed = [...wanted];
  let floor = top;
  for (const i of order) {
    placed[i] = Math.max(placed[i]!, floor);
    floor = placed[i]! + gap;
  }
  let ceiling = bottom;
  for (const i of order.reverse()) {
    placed[i] = Math.min(placed[i]!, ceiling);
    ceiling = placed[i]! - gap;
  }
  return placed;
}

/** One quantity by step: smoothed lines with bands, or dots for few points, each labelled at its end. */
export function curvePanel(name: string, title: string, series: readonly Series[]): Figure {
  const all = series.flatMap((one) => one.points);
  const low = extreme(all, Math.min, 'low');
  const high = extreme(all, Math.max, 'high');
  const pad = (high - low || Math.abs(high) || 1) * 0.05;
  const domain: [number, number] = [low - pad, high + pad];
  const lastStep = extreme(all, Math.max, 'step');
  const firstStep = extreme(all, Math.min, 'step');
  const labelled = series.length > 1;
  const right = labelled ? 78 : 14;
  const inner = size.height - size.top - size.bottom;
  const toPixel = (y: number): number => size.top + ((domain[1] - y) / (domain[1] - domain[0])) * inner;
  const ends = series.map((one) => toPixel(one.points.at(-1)!.mean));
  const places = spreadLabels(ends, 13, size.top, size.height - size.bottom);
  const drawn = series.map((one) => ({
    ...one,
    points: thin(one.points, 150),
    few: one.points.length < fewPoints,
  }));
  const svg = drawSvg(
    {
      width: size.width,
      height: size.height,
      marginTop: size.top,
      marginLeft: size.left,
      marginRight: right,
      marginBottom: size.bottom,
      x: {
        domain: [Math.min(firstStep, lastStep - 1), lastStep],
        label: 'step',
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: 4,
        tickFormat: tick,
        tickSize: 3,
      },
      y: { domain, label: null, ticks: 4, tickFormat: tick, tickSize: 0 },
      marks: [
        Plot.gridY({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
        drawn
          .filter((one) => !one.few)
          .map((one) =>
            Plot.areaY(one.points, { x: 'step', y1: 'low', y2: 'high', fill: one.color, fillOpacity: 0.13 }),
          ),
        drawn.map((one) =>
          Plot.lineY(one.points, { x: 'step', y: 'mean', stroke: one.color, strokeWidth: 1.8 }),
        ),
        drawn
          .filter((one) => one.few)
          .map((one) => Plot.dot(one.points, { x: 'step', y: 'mean', fill: one.color, r: 2.6 })),
        labelled
          ? series.map((one, i) =>
              Plot.text([clip(one.label, 12)], {
                frameAnchor: 'top-right',
                textAnchor: 'start',
                lineAnchor: 'middle',
                dx: 8,
                dy: places[i]! - size.top,
                fill: one.color,
                fontWeight: 600,
              }),
            )
          : [],
      ],
    },
    title,
    `${title}, by optimizer step: ${series.map((one) => `${one.label} from ${brief(one.points[0]!.mean)} to ${brief(one.points.at(-1)!.mean)}`).join('; ')}`,
  );
  const rows = series.flatMap((one) =>
    one.points.map((p) => [one.run, one.label, one.phase, p.step, p.value, p.mean, p.low, p.high]),
  );
  return {
    name,
    title,
    svg,
    csv: csv(['run', 'series', 'phase', 'step', 'value', 'smoothed', 'low', 'high'], rows),
  };
}

/** The least or greatest of one field; `Math.max(...list)` would overflow the stack on a long run. */
function extreme(
  points: readonly SmoothPoint[],
  pick: (a: number, b: number) => number,
  field: 'low' | 'high' | 'step',
): number {
  return points.reduce((best, point) => pick(best, point[field]), points[0]![field]);
}
