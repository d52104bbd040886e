import * as Plot from '@observablehq/plot';
import { drawSvg, standaloneSvg } from '../../src/report/figure.js';
import { tick } from '../../src/report/format.js';
import { colorVariable } from '../../src/report/palette.js';
import type { Fit } from './gaussian.js';
import type { Kind } from './languageModel.js';

export interface NamedFit extends Fit {
  label: string;
  color: number;
  dashed: boolean;
}

/** The mixture as an area, what was fitted to it as lines, each named at its peak. */
export function gaussianFigure(
  support: readonly number[],
  probabilities: readonly number[],
  fits: readonly NamedFit[],
): string {
  const spacing = support[1]! - support[0]!;
  // Nothing is to be seen beyond it.
  const shown = support.filter((x) => Math.abs(x) <= 7.5);
  const mixture = shown.map((x) => ({ x, y: probabilities[support.indexOf(x)]! / spacing }));
  const peak = (fit: Fit): number => 1 / (fit.deviation * Math.sqrt(2 * Math.PI));
  const curve = (fit: Fit) =>
    shown.map((x) => ({ x, y: peak(fit) * Math.exp(-(((x - fit.mean) / fit.deviation) ** 2) / 2) }));
  const title = 'One Gaussian for two modes';
  return standaloneSvg(
    drawSvg(
      {
        ...{ width: 720, height: 330, marginTop: 48, marginLeft: 44, marginRight: 12, marginBottom: 40 },
        x: {
          domain: [-7.5, 7.5],
          label: 'x',
          labelArrow: 'none',
          labelAnchor: 'center',
          tickFormat: tick,
          tickSize: 3,
        },
        y: { label: null, ticks: 4, tickFormat: tick, tickSize: 0 },
        marks: [
          Plot.gridY({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
          Plot.areaY(mixture, { x: 'x', y: 'y', fill: colorVariable(0), fillOpacity: 0.22 }),
          Plot.lineY(mixture, { x: 'x', y: 'y', stroke: colorVariable(0), strokeWidth: 1.2 }),
          fits.map((fit) =>
            Plot.lineY(curve(fit), {
              ...{ x: 'x', y: 'y', stroke: colorVariable(fit.color), strokeWidth: 2 },
              ...(fit.dashed && { strokeDasharray: '5,4' }),
            }),
          ),
          fits.map((fit) =>
            Plot.text([fit], {
              ...{ x: 'mean', y: peak, text: 'label', dy: -9 },
              ...{ fill: colorVariable(fit.color), fontWeight: 600 },
            }),
          ),
        ],
      },
      title,
      `${title}: ${fits.map((fit) => `${fit.label}: mean ${fit.mean.toFixed(2)}, deviation ${fit.deviation.toFixed(2)}`).join('; ')}`,
    ),
  );
}

export type Shares = Record<Kind, number>;

const kinds: readonly { kind: Kind; label: string; color: number }[] = [
  { kind: 'copy', label: 'copies', color: 2 },
  { kind: 'shift', label: 'shifts', color: 1 },
  { kind: 'mixed', label: 'mixes the two', color: 5 },
  { kind: 'other', label: 'neither', color: 0 },
];

/** A bar a model: how its samples divide into the two right answers, mixtures of them, and the rest. */
export function kindsFigure(rows: readonly { label: string; shares: Shares }[]): string {
  const bars = rows.flatMap(({ label, shares }) => {
    let from = 0;
    return kinds.map(({ kind, color }) => {
      const bar = { label, from, to: from + 100 * shares[kind], fill: colorVariable(color) };
      from = bar.to;
      return { ...bar, middle: (bar.from + bar.to) / 2, text: `${Math.round(bar.to - bar.from)}` };
    });
  });
  const title = 'What the samples are, %';
  const legend = kinds.map(({ label, color }, i) => ({
    label,
    color: colorVariable(color),
    dx: kinds.slice(0, i).reduce((x, k) => x + 24 + 7 * k.label.length, 0),
  }));
  return standaloneSvg(
    drawSvg(
      {
        ...{ width: 720, height: 84 + 34 * rows.length, marginTop: 52, marginLeft: 150, marginRight: 12 },
        marginBottom: 26,
        x: { domain: [0, 100], label: null, ticks: 5, tickFormat: tick, tickSize: 0 },
        y: { domain: rows.map(({ label }) => label), label: null, tickSize: 0, padding: 0.22 },
        color: { type: 'identity' },
        marks: [
          Plot.barX(bars, { x1: 'from', x2: 'to', y: 'label', fill: 'fill', insetRight: 1 }),
          Plot.text(
            bars.filter((bar) => bar.to - bar.from >= 5),
            { x: 'middle', y: 'label', text: 'text', fill: 'var(--paper)', fontWeight: 600 },
          ),
          legend.map(({ label, color, dx }) =>
            Plot.text([label], {
              ...{ frameAnchor: 'top-left', textAnchor: 'start', dx, dy: -18, fill: color, fontWeight: 600 },
            }),
          ),
        ],
      },
      title,
      `${title}: ${rows.map(({ label, shares }) => `${label}: ${kinds.map((k) => `${k.label} ${Math.round(100 * shares[k.kind])}`).join(', ')}`).join('; ')}`,
    ),
  );
}
