import * as Plot from '@observablehq/plot';
import { metricInfo, orderedMetrics } from './catalog.js';
import { decimalsOf, spelled } from './comparisonTable.js';
import type { Entry } from './entries.js';
import { csv } from './escape.js';
import { clip, drawSvg, type Figure, rowScale } from './figure.js';
import { brief, fixed, tick } from './format.js';
import { rowHits } from './hits.js';
import { colorVariable } from './palette.js';
import { shownInterval } from './uncertainty.js';

/** One panel a metric: a dot and an interval for every run, the teacher as a dashed line to compare with. */
export function comparisonFigures(runs: readonly Entry[], colors: ReadonlyMap<Entry, number>): Figure[] {
  const names = orderedMetrics(runs.flatMap((run) => Object.keys(run.evaluation)));
  return names
    .filter((name) => metricInfo(name).figure)
    .flatMap((name) => {
      const measured = runs.filter((run) => run.evaluation[name] !== undefined);
      return measured.length < 2 ? [] : [comparisonPanel(name, measured, colors)];
    });
}

function comparisonPanel(name: string, runs: readonly Entry[], colors: ReadonlyMap<Entry, number>): Figure {
  const { label, unit, better, scale } = metricInfo(name);
  const rows = runs.map((run) => {
    const summary = run.evaluation[name]!;
    const [low, high] = shownInterval(summary) ?? [summary.mean, summary.mean];
    return {
      run: run.label,
      shown: clip(run.label, 12),
      teacher: run.isTeacher,
      color: colorVariable(colors.get(run)!),
      mean: summary.mean * scale,
      low: low * scale,
      high: high * scale,
    };
  });
  const decimals = decimalsOf(
    runs.map((run) => run.evaluation[name]!),
    scale,
  );
  const low = Math.min(...rows.flatMap((row) => [row.low, row.mean]));
  const high = Math.max(...rows.flatMap((row) => [row.high, row.mean]));
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  const arrow = better === 'higher' ? ' ↑' : better === 'lower' ? ' ↓' : '';
  const teacher = rows.filter((row) => row.teacher);
  const title = `${label}${arrow}`;
  const svg = drawSvg(
    {
      width: 340,
      height: (unit ? 68 : 54) + 24 * rows.length,
      marginTop: 28,
      marginLeft: 84,
      marginRight: 52,
      marginBottom: unit ? 40 : 26,
      x: {
        domain: [low - pad, high + pad],
        label: unit || null,
        labelArrow: 'none',
        labelAnchor: 'center',
        ticks: 4,
        tickFormat: tick,
        tickSize: 0,
      },
      // The place is the row's number: two runs may have the same shortened name.
      y: rowScale(rows.length),
      marks: [
        Plot.gridX({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
        Plot.ruleX(teacher, {
          x: 'mean',
          stroke: colorVariable(0),
          strokeDasharray: '3,3',
          strokeOpacity: 0.8,
        }),
        Plot.ruleY(rows, {
          y: (_, i) => i,
          x1: 'low',
          x2: 'high',
          stroke: 'color',
          strokeWidth: 2,
          strokeLinecap: 'round',
        }),
        Plot.dot(rows, {
          y: (_, i) => i,
          x: 'mean',
          r: 4.5,
          stroke: 'color',
          strokeWidth: 2,
          fill: (row) => (row.teacher ? 'var(--paper)' : row.color),
        }),
        Plot.text(rows, {
          y: (_, i) => i,
          text: 'shown',
          frameAnchor: 'left',
          textAnchor: 'end',
          dx: -8,
          fill: 'color',
          fontWeight: 600,
        }),
        Plot.text(rows, {
          y: (_, i) => i,
          text: (row) => fixed(row.mean, decimals),
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 8,
          fontVariant: 'tabular-nums',
        }),
      ],
      color: { type: 'identity' },
    },
    title,
    `${label}${unit && ` in ${unit}`}: ${rows.map((row) => `${row.run} ${brief(row.mean)}`).join(', ')}`,
    rowHits(
      runs.map((run) => spelled(name, run, decimals)),
      { width: 340, top: 28, bottom: 28 + 24 * rows.length },
    ),
  );
  const table = runs.map((run) => {
    const { mean, stderr, n } = run.evaluation[name]!;
    return [
      run.label,
      run.method,
      mean,
      stderr,
      n,
      ...(shownInterval(run.evaluation[name]!) ?? [null, null]),
    ];
  });
  return {
    name: `comparison-${name}`,
    title,
    svg,
    csv: csv(['run', 'method', 'mean', 'stderr', 'n', 'low', 'high'], table),
  };
}
