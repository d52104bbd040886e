import * as Plot from '@observablehq/plot';
import { clip, drawSvg, type Figure } from './figure.js';
import { brief, tick } from './format.js';
import { lineHits } from './hits.js';
import type { Line, LinePoint } from './line.js';
import { bounds, thin } from './smoothing.js';

export type { Line };

export interface LinePanelOptions {
  name: string;
  title: string;
  xLabel: string;
  csv: string;
  /** Both axes from 0 to 1 with the diagonal drawn in. */
  unitSquare?: boolean;
  /** Names the lines at their ends (default: where there are several). */
  labelled?: boolean;
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

/** Lines over one quantity, with bands, each named at its end in its colour: no legend to look up. */
export function linePanel(lines: readonly Line[], options: LinePanelOptions): Figure {
  const { title, unitSquare = false, labelled = lines.length > 1 } = options;
  const all = lines.flatMap((line) => line.points);
  const [low, high] = unitSquare ? [0, 1] : [extreme(all, Math.min, 'low'), extreme(all, Math.max, 'high')];
  const pad = unitSquare ? 0 : (high - low || Math.abs(high) || 1) * 0.05;
  const [least, most] = bounds([low, high]);
  const domain: [number, number] = [Math.max(least, low - pad), Math.min(most, high + pad)];
  const last = unitSquare ? 1 : extreme(all, Math.max, 'x');
  const first = unitSquare ? 0 : Math.min(extreme(all, Math.min, 'x'), last - 1);
  // Dozens of lines want more height than a few; labels keep their distance.
  const height = Math.max(size.height, size.top + size.bottom + 13 * (labelled ? lines.length : 0));
  const inner = height - size.top - size.bottom;
  const toPixel = (y: number): number => size.top + ((domain[1] - y) / (domain[1] - domain[0])) * inner;
  const right = labelled ? 78 : 14;
  const ends = lines.map((line) => toPixel(line.points.at(-1)!.mean));
  const places = spreadLabels(ends, 13, size.top, height - size.bottom);
  const drawn = lines.map((line) => ({ ...line, points: thin(line.points, 150) }));
  const hasBand = (line: Line): boolean => line.points.some((p) => p.high > p.low);
  const svg = drawSvg(
    {
      width: size.width,
      height,
      marginTop: size.top,
      marginLeft: size.left,
      marginRight: right,
      marginBottom: size.bottom,
      x: {
        domain: [first, last],
        label: options.xLabel,
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: 4,
        tickFormat: tick,
        tickSize: 3,
      },
      y: { domain, label: null, ticks: 4, tickFormat: tick, tickSize: 0 },
      marks: [
        Plot.gridY({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
        unitSquare
          ? Plot.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, stroke: 'currentColor', strokeOpacity: 0.35 })
          : [],
        drawn
          .filter(hasBand)
          .map((line) =>
            Plot.areaY(line.points, { x: 'x', y1: 'low', y2: 'high', fill: line.color, fillOpacity: 0.13 }),
          ),
        drawn.map((line) =>
          Plot.lineY(line.points, {
            x: 'x',
            y: 'mean',
            stroke: line.color,
            strokeWidth: 1.8,
            ...(line.dashed && { strokeDasharray: '4,3' }),
          }),
        ),
        drawn
          .filter((line) => line.dots)
          .map((line) => Plot.dot(line.points, { x: 'x', y: 'mean', fill: line.color, r: 2.6 })),
        labelled
          ? lines.map((line, i) =>
              Plot.text([clip(line.label, 12)], {
                frameAnchor: 'top-right',
                textAnchor: 'start',
                lineAnchor: 'middle',
                dx: 8,
                dy: places[i]! - size.top,
                fill: line.color,
                fontWeight: 600,
              }),
            )
          : [],
      ],
    },
    title,
    `${title}, by ${options.xLabel}: ${lines.map((line) => `${line.label} from ${brief(line.points[0]!.mean)} to ${brief(line.points.at(-1)!.mean)}`).join('; ')}`,
    lineHits(lines, {
      xLabel: options.xLabel,
      pixel: (x) => size.left + ((x - first) / (last - first)) * (size.width - size.left - right),
      ...{ top: size.top, bottom: height - size.bottom },
    }),
  );
  return { name: options.name, title, svg, csv: options.csv };
}

/** The least or greatest of one field; `Math.max(...list)` would overflow the stack on a long run. */
function extreme(
  points: readonly LinePoint[],
  pick: (a: number, b: number) => number,
  field: 'low' | 'high' | 'x',
): number {
  return points.reduce((best, point) => pick(best, point[field]), points[0]![field]);
}
