import path from 'node:path';
import { UsageError } from '../errors.js';
import type { Figure } from './figure.js';
import { type IntervalRow, intervalFigure } from './intervalFigure.js';
import { finite, isObject, parseObject, readText } from './untrusted.js';

/** What the page says about gradient estimators: a figure, and where its numbers come from. */
export interface VarianceSection {
  title: string;
  source: string;
  figure: Figure;
}

/** The rows of a figure that a page has room for. */
const most = 30;

/**
 * Reads what `minillm variance --out` (measured, with intervals) or `minillm oracle --json` (exact, on a small world) wrote.
 * @throws UsageError if the file is there and holds neither; undefined if it is not there
 */
export function readVariance(file: string): VarianceSection | undefined {
  const text = readText(file);
  if (text === null) return undefined;
  const notes: string[] = [];
  const content = parseObject(text, file, notes);
  const estimators = (Array.isArray(content.estimators) ? content.estimators : []).filter(isObject);
  const measured = estimators.flatMap(measuredRow);
  const rows = measured.length > 0 ? measured : estimators.flatMap(exactRow);
  if (rows.length === 0) {
    throw new UsageError(
      `${file}: holds no estimators; expected what minillm variance --out or minillm oracle --json writes`,
    );
  }
  const shown = rows.sort((a, b) => a.value - b.value).slice(0, most);
  const slug = path.basename(file, '.json').replace(/[^A-Za-z0-9_-]+/g, '-');
  const target = finite(content.signal_to_noise_target) ? content.signal_to_noise_target : 1;
  const title =
    measured.length > 0
      ? `Rollouts needed for a signal-to-noise ratio of ${target}`
      : 'Variance of one sample’s gradient, by enumeration';
  const axis = measured.length > 0 ? 'rollouts, with 95 % intervals over repeats' : 'trace of the covariance';
  return {
    title,
    source: `${path.basename(file)}${rows.length > most ? `: the ${most} lowest of ${rows.length}` : ''}`,
    figure: intervalFigure(shown, { name: `variance-${slug}`, title, axis }),
  };
}

function nameOf(row: Record<string, unknown>): string {
  if (typeof row.name === 'string') return row.name;
  const words = [row.returns, row.baseline, row.importance].filter(
    (x) => typeof x === 'string' && x !== 'none',
  );
  const alpha = finite(row.alpha) && row.alpha > 0 ? [`α ${row.alpha}`] : [];
  const samples = finite(row.samples) && row.samples > 1 ? [`K ${row.samples}`] : [];
  const split = row.single_step === false ? ['no single step'] : [];
  return [...words, ...alpha, ...samples, ...split].join(' ') || 'plain';
}

/** What needs no rollouts at all, or more than any number, has no place on the axis but the edge. */
function measuredRow(row: Record<string, unknown>): IntervalRow[] {
  const needed = row.rollouts_needed;
  if (!isObject(needed)) return [];
  const number = (x: unknown): number => (finite(x) ? x : Number.POSITIVE_INFINITY);
  const [low, high] = Array.isArray(needed.interval) ? needed.interval : [];
  const name = nameOf(row);
  const series = name.startsWith('preset/') ? 'presets' : String(row.returns ?? 'estimators');
  return [{ label: name, value: number(needed.value), low: number(low), high: number(high), series }];
}

function exactRow(row: Record<string, unknown>): IntervalRow[] {
  if (!finite(row.variance) || row.variance <= 0) return [];
  const unbiased = finite(row.relative_bias) && row.relative_bias < 1e-6;
  const { variance } = row;
  return [
    {
      label: nameOf(row),
      value: variance,
      low: variance,
      high: variance,
      series: unbiased ? 'unbiased' : 'biased',
    },
  ];
}
