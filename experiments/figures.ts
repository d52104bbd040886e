/** The figures that several experiments draw. */
import * as Plot from '@observablehq/plot';
import type { MetricSummary } from '../src/report/evaluationFile.js';
import { drawSvg, standaloneSvg } from '../src/report/figure.js';
import { brief, tick } from '../src/report/format.js';
import { colorVariable } from '../src/report/palette.js';
import { shownInterval } from '../src/report/uncertainty.js';
import type { Difference } from './students.js';

/** One dot: a method (or variant) in one panel. */
export interface Dot extends MetricSummary {
  row: string;
  panel: string;
}

/** A measured difference as what a dot shows. @param n training seeds */
export const ofDifference = ({ mean, low, high }: Difference, n: number): Omit<Dot, 'row' | 'panel'> => ({
  ...{ mean, stderr: (high - low) / (2 * 1.96), n },
  interval: [low, high],
});

export interface DotOptions {
  title: string;
  /** Under the axis, with the unit and which way is better. */
  axis: string;
  /** The row that stands out. */
  highlight: string;
  /** A dashed line in every panel, such as the teacher's value. */
  reference?: { value: number; label: string };
}

/** Rows as in a table, a panel for each size or set side by side, a dot with its interval for each. */
export function dotPanels(dots: readonly Dot[], { title, axis, highlight, reference }: DotOptions): string {
  const rows = [...new Set(dots.map(({ row }) => row))];
  const panels = [...new Set(dots.map(({ panel }) => panel))];
  const drawn = dots.map((dot) => {
    const [low, high] = shownInterval(dot) ?? [dot.mean, dot.mean];
    return { ...dot, low, high, color: colorVariable(dot.row === highlight ? 1 : 0) };
  });
  const left = 16 + 6.4 * Math.max(...rows.map((row) => row.length));
  const lines = panels.map((panel) => ({ panel, x: reference?.value ?? 0 }));
  return standaloneSvg(
    drawSvg(
      {
        width: left + 190 * panels.length + 20,
        height: 92 + 20 * rows.length,
        ...{ marginTop: 52, marginLeft: left, marginRight: 20, marginBottom: 40 },
        fx: { domain: panels, label: null, padding: 0.12, axis: panels.length > 1 ? 'top' : null },
        x: {
          label: axis,
          labelAnchor: 'center',
          labelArrow: 'none',
          ticks: 4,
          tickFormat: tick,
          tickSize: 0,
          nice: true,
        },
        y: { domain: rows, label: null, tickSize: 0, padding: 0.3 },
        color: { type: 'identity' },
        marks: [
          Plot.gridX({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
          reference
            ? [
                Plot.ruleX(lines, { fx: 'panel', x: 'x', stroke: colorVariable(0), strokeDasharray: '4,3' }),
                Plot.text(lines.slice(0, 1), {
                  ...{ fx: 'panel', x: 'x', text: () => reference.label, frameAnchor: 'top', dy: -9 },
                  fill: 'var(--soft)',
                }),
              ]
            : [],
          Plot.ruleY(drawn, {
            fx: 'panel',
            y: 'row',
            x1: 'low',
            x2: 'high',
            stroke: 'color',
            strokeWidth: 2,
          }),
          Plot.dot(drawn, { fx: 'panel', y: 'row', x: 'mean', fill: 'color', r: 3.8 }),
        ],
      },
      title,
      `${title}: ${dots.map((dot) => `${dot.panel} ${dot.row} ${brief(dot.mean)}`).join(', ')}`,
    ),
  );
}
