import * as Plot from '@observablehq/plot';
import { csv } from './escape.js';
import { drawSvg, type Figure, logAxis, rowScale } from './figure.js';
import { brief } from './format.js';
import { rowHits } from './hits.js';
import { colorVariable } from './palette.js';

/** One row: a dot with its interval. */
export interface IntervalRow {
  label: string;
  value: number;
  low: number;
  high: number;
  /** Rows of one series have one colour; named in the legend, in order of appearance. */
  series: string;
}

export interface IntervalFigureOptions {
  name: string;
  title: string;
  /** Under the axis. */
  axis: string;
}

const size = { width: 760, row: 18, top: 52, right: 64, bottom: 42, letter: 6.1 };

/**
 * Many estimates of one positive quantity, one below the other on a logarithmic axis: a dot, its interval, its number. What
 * has no finite number is shown as an arrow at the edge.
 */
export function intervalFigure(rows: readonly IntervalRow[], options: IntervalFigureOptions): Figure {
  const finite = rows
    .flatMap(({ value, low, high }) => [value, low, high])
    .filter((x) => x > 0 && x < Infinity);
  const domain: [number, number] = [Math.min(...finite) / 1.15, Math.max(...finite) * 1.15];
  const inside = (x: number): number => Math.min(domain[1], Math.max(domain[0], x));
  const names = [...new Set(rows.map(({ series }) => series))];
  const left = 16 + size.letter * Math.max(...rows.map(({ label }) => label.length));
  const drawn = rows.map((row, i) => ({
    ...row,
    place: i,
    color: colorVariable(1 + names.indexOf(row.series)),
    x: inside(row.value),
    from: inside(row.low),
    to: inside(row.high),
    text: Number.isFinite(row.value) ? brief(row.value) : '→',
  }));
  const y = 'place';
  const svg = drawSvg(
    {
      width: size.width,
      height: size.top + size.bottom + size.row * rows.length,
      marginTop: size.top,
      marginLeft: left,
      marginRight: size.right,
      marginBottom: size.bottom,
      x: logAxis(options.axis, domain, 6),
      y: rowScale(rows.length),
      color: { type: 'identity' },
      marks: [
        Plot.gridX({ ticks: 6, stroke: 'currentColor', strokeOpacity: 0.1 }),
        Plot.ruleY(drawn, {
          y,
          x1: 'from',
          x2: 'to',
          stroke: 'color',
          strokeWidth: 2,
          strokeLinecap: 'round',
        }),
        Plot.dot(drawn, { y, x: 'x', r: 4, fill: 'color' }),
        Plot.text(drawn, {
          y,
          text: 'label',
          frameAnchor: 'left',
          textAnchor: 'end',
          dx: -8,
          fill: 'currentColor',
        }),
        Plot.text(drawn, {
          y,
          text: 'text',
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 8,
          fontVariant: 'tabular-nums',
        }),
        names.map((name, i) =>
          Plot.text([name], {
            frameAnchor: 'top-left',
            textAnchor: 'start',
            dx: legendAt(names, i) - left,
            dy: -22,
            fill: colorVariable(1 + i),
            fontWeight: 600,
          }),
        ),
      ],
    },
    options.title,
    `${options.title}: ${rows.map((row) => `${row.label} ${brief(row.value)}`).join(', ')}`,
    rowHits(
      rows.map(
        ({ label, value, low, high }) =>
          `${label}: ${brief(value)}${low < high ? `, ${brief(low)} to ${brief(high)}` : ''}`,
      ),
      { width: size.width, top: size.top, bottom: size.top + size.row * rows.length },
    ),
  );
  return {
    name: options.name,
    title: options.title,
    svg,
    csv: csv(
      ['label', 'series', 'value', 'low', 'high'],
      rows.map((row) => [row.label, row.series, row.value, row.low, row.high]),
    ),
  };
}

/** Pixels from the left edge at which the i-th name of the legend begins. */
function legendAt(names: readonly string[], i: number): number {
  return names.slice(0, i).reduce((x, name) => x + 22 + 6.8 * name.length, 0);
}
