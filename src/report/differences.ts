import * as Plot from '@observablehq/plot';
import { metricInfo } from './catalog.js';
import type { Entry } from './entries.js';
import { csv } from './escape.js';
import { clip, drawSvg, type Figure, rowScale } from './figure.js';
import { brief, decimalsFor, fixed, tick } from './format.js';
import { rowHits } from './hits.js';
import { colorVariable } from './palette.js';
import { type Difference, difference } from './uncertainty.js';

/** Metrics whose values per prompt are worth pairing, in the order of the panels. */
const paired = ['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_seq', 'reverse_kl_token', 'lm_loss'];

export interface Differences {
  /** The student that the others are subtracted from. */
  of: Entry;
  figures: Figure[];
}

/**
 * One student minus each of the others on the same prompts, prompt by prompt or seed by seed: the interval is far narrower than
 * the two separate ones, since what makes a prompt hard is common to both. The student is MiniLLM's where there is one, else the
 * last. Undefined where no two students were evaluated on the same prompts.
 */
export function differences(
  entries: readonly Entry[],
  colors: ReadonlyMap<Entry, number>,
): Differences | undefined {
  const students = entries.filter((entry) => !entry.isTeacher && entry.evaluated.promptSet !== null);
  const of = students.find((entry) => entry.method === 'minillm') ?? students.at(-1);
  if (!of) return undefined;
  const others = students.filter(
    (entry) => entry !== of && entry.evaluated.promptSet === of.evaluated.promptSet,
  );
  const figures = paired.flatMap((name) => {
    const rows = others.flatMap((other): Row[] => {
      const found = difference(of, other, name);
      if (!found || found.paired === 'nothing') return [];
      return [{ label: other.label, color: colorVariable(colors.get(other)!), ...found }];
    });
    return rows.length === 0 ? [] : [panel(name, of, rows)];
  });
  return figures.length > 0 ? { of, figures } : undefined;
}

interface Row extends Difference {
  label: string;
  color: string;
}

function panel(name: string, of: Entry, rows: readonly Row[]): Figure {
  const { label, unit, better } = metricInfo(name);
  const low = Math.min(0, ...rows.map((row) => row.low));
  const high = Math.max(0, ...rows.map((row) => row.high));
  const pad = (high - low || 1) * 0.06;
  const decimals = decimalsFor(Math.min(...rows.map((row) => (row.high - row.low) / 4)));
  const signed = (x: number): string => `${x > 0 ? '+' : ''}${fixed(x, decimals)}`;
  const good = better === 'higher' ? 'right' : 'left';
  const y = (_: Row, i: number): number => i;
  const title = label;
  const svg = drawSvg(
    {
      width: 340,
      height: 80 + 24 * rows.length,
      marginTop: 28,
      marginLeft: 92,
      marginRight: 52,
      marginBottom: 40,
      x: {
        domain: [low - pad, high + pad],
        label: `${unit ? `${unit}, ` : ''}better to the ${good}`,
        labelArrow: 'none',
        labelAnchor: 'center',
        ticks: 4,
        tickFormat: tick,
        tickSize: 0,
      },
      y: rowScale(rows.length),
      color: { type: 'identity' },
      marks: [
        Plot.gridX({ ticks: 4, stroke: 'currentColor', strokeOpacity: 0.1 }),
        Plot.ruleX([0], { stroke: 'currentColor', strokeOpacity: 0.55 }),
        Plot.ruleY(rows, {
          y,
          x1: 'low',
          x2: 'high',
          stroke: 'color',
          strokeWidth: 2,
          strokeLinecap: 'round',
        }),
        Plot.dot(rows, { y, x: 'mean', r: 4.5, fill: 'color' }),
        Plot.text(rows, {
          y,
          text: (row: Row) => `− ${clip(row.label, 12)}`,
          frameAnchor: 'left',
          textAnchor: 'end',
          dx: -8,
          fill: 'color',
          fontWeight: 600,
        }),
        Plot.text(rows, {
          y,
          text: (row: Row) => signed(row.mean),
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 8,
          fontVariant: 'tabular-nums',
        }),
      ],
    },
    title,
    `${label}: ${of.label} minus ${rows.map((row) => `${row.label} ${brief(row.mean)}, 95 % interval ${brief(row.low)} to ${brief(row.high)}`).join('; ')}`,
    rowHits(
      rows.map(
        (row) =>
          `${of.label} minus ${row.label}: ${signed(row.mean)}${unit && ` ${unit}`}, 95 % interval ${fixed(row.low, decimals)} to ${fixed(row.high, decimals)}, paired by ${row.paired === 'seeds' ? 'training seed' : 'prompt'}`,
      ),
      { width: 340, top: 28, bottom: 40 + 24 * rows.length },
    ),
  );
  const table = rows.map((row) => [
    of.label,
    row.label,
    row.mean,
    row.stderr,
    row.n,
    row.low,
    row.high,
    row.paired,
  ]);
  return {
    name: `difference-${name}`,
    title,
    svg,
    csv: csv(['run', 'minus', 'mean', 'stderr', 'n', 'low', 'high', 'paired'], table),
  };
}
