import * as Plot from '@observablehq/plot';
import { clip, drawSvg, type Figure } from './figure.js';
import { tick } from './format.js';
import { lineHits } from './hits.js';
import type { Line } from './line.js';

export interface RidgeOptions {
  name: string;
  title: string;
  xLabel: string;
  csv: string;
  /** Drawn dashed behind every row, to compare with. */
  reference?: Line | undefined;
  /** A vertical line. */
  zero?: boolean;
}

const size = { width: 340, row: 46, top: 34, left: 84, right: 14, bottom: 38 };

/** Distributions one below the other on one scale, each a row of its own: five over one another hide one another. */
export function ridgeFigure(rows: readonly Line[], options: RidgeOptions): Figure {
  const { title, reference } = options;
  const all = [...rows, ...(reference ? [reference] : [])].flatMap(({ points }) => points);
  const most = Math.max(...all.map(({ mean }) => mean));
  const domain: [number, number] = [Math.min(...all.map(({ x }) => x)), Math.max(...all.map(({ x }) => x))];
  const height = size.top + size.bottom + size.row * rows.length;
  // A row is one high, its curve 0.9 at most.
  const placed = (line: Line, i: number) =>
    line.points.map(({ x, mean }) => ({
      x,
      base: rows.length - 1 - i,
      y: rows.length - 1 - i + (0.9 * mean) / most,
    }));
  const svg = drawSvg(
    {
      width: size.width,
      height,
      marginTop: size.top,
      marginLeft: size.left,
      marginRight: size.right,
      marginBottom: size.bottom,
      x: {
        ...{ domain, label: options.xLabel, labelAnchor: 'center', labelArrow: 'none' },
        ...{ ticks: 5, tickFormat: tick, tickSize: 3 },
      },
      y: { domain: [0, rows.length], axis: null },
      marks: [
        Plot.gridX({ ticks: 5, stroke: 'currentColor', strokeOpacity: 0.1 }),
        options.zero ? Plot.ruleX([0], { stroke: 'currentColor', strokeOpacity: 0.55 }) : [],
        rows.map((row, i) => [
          Plot.areaY(placed(row, i), { x: 'x', y1: 'base', y2: 'y', fill: row.color, fillOpacity: 0.22 }),
          Plot.lineY(placed(row, i), {
            ...{ x: 'x', y: 'y', stroke: row.color, strokeWidth: 1.8 },
            ...(row.dashed && { strokeDasharray: '4,3' }),
          }),
          reference && reference !== row
            ? Plot.lineY(placed(reference, i), {
                ...{ x: 'x', y: 'y', stroke: reference.color, strokeWidth: 1.2, strokeDasharray: '3,3' },
              })
            : [],
          Plot.text([clip(row.label, 12)], {
            ...{ y: () => rows.length - 1 - i + 0.16, frameAnchor: 'left', textAnchor: 'end', dx: -8 },
            ...{ fill: row.color, fontWeight: 600 },
          }),
        ]),
      ],
    },
    title,
    `${title}, by ${options.xLabel}: ${rows.map((row) => `${row.label} most at ${tick(peak(row))}`).join('; ')}`,
    lineHits(
      [...(reference ? [reference] : []), ...rows].map(({ label, points }) => ({
        label,
        points,
      })),
      {
        xLabel: options.xLabel,
        pixel: (x) =>
          size.left + ((x - domain[0]) / (domain[1] - domain[0])) * (size.width - size.left - size.right),
        ...{ top: size.top, bottom: height - size.bottom },
      },
    ),
  );
  return { name: options.name, title, svg, csv: options.csv };
}

function peak({ points }: Line): number {
  return points.reduce((best, point) => (point.mean > best.mean ? point : best)).x;
}
