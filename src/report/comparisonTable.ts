import { type MetricInfo, metricInfo, orderedMetrics } from './catalog.js';
import { csv, escapeHtml } from './escape.js';
import type { MetricSummary } from './evaluationFile.js';
import { decimalsFor, duration, fixed } from './format.js';
import { colorVariable } from './palette.js';
import type { Run } from './runs.js';
import { clearlyAbove } from './uncertainty.js';

export const arrows = { higher: '↑', lower: '↓', teacher: '≈' };
export const spoken = {
  higher: 'higher is better',
  lower: 'lower is better',
  teacher: 'best near the teacher',
};

/**
 * The students whose mean cannot be told from the best one's: within two standard errors of the difference. Without
 * a direction, with one student only, or without any standard error there is no best.
 */
export function bestRuns<T extends Run>(name: string, runs: readonly T[]): Set<T> {
  const { better } = metricInfo(name);
  const students = runs.filter((run) => !run.isTeacher && run.evaluation[name] !== undefined);
  const value = (run: T): MetricSummary => run.evaluation[name]!;
  if ((better !== 'higher' && better !== 'lower') || students.length < 2) return new Set();
  if (students.every((run) => value(run).stderr === null)) return new Set();
  const sign = better === 'higher' ? 1 : -1;
  const best = students.reduce((a, b) => (sign * value(b).mean > sign * value(a).mean ? b : a));
  return new Set(
    students.filter((run) => {
      const [above, below] = sign > 0 ? [best, run] : [run, best];
      return !clearlyAbove(value(above), value(below));
    }),
  );
}

/** All metrics: a row a metric, a column a run, standard errors in small print. */
export function comparisonTable<T extends Run>(
  runs: readonly T[],
  colors: ReadonlyMap<T, number>,
  label: string,
): string {
  const measured = runs.filter((run) => Object.keys(run.evaluation).length > 0);
  const names = orderedMetrics(measured.flatMap((run) => Object.keys(run.evaluation)));
  const heads = measured.map((run) => {
    const dot = `<span class="dot" style="background:${colorVariable(colors.get(run)!)}"></span>`;
    return `<th scope="col"${run.isTeacher ? ' class="teacher"' : ''}>${dot}${escapeHtml(run.label)}</th>`;
  });
  let group = '';
  const rows = names.map((name) => {
    const info = metricInfo(name);
    const heading =
      info.group === group
        ? ''
        : `<tr class="group"><th colspan="${measured.length + 1}" scope="rowgroup">${escapeHtml(info.group)}</th></tr>`;
    group = info.group;
    return heading + tableRow(name, info, measured);
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(label)}"><table class="comparison">
<thead><tr><th scope="col">Metric</th>${heads.join('')}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div>`;
}

function tableRow(name: string, info: MetricInfo, runs: readonly Run[]): string {
  const best = bestRuns(name, runs);
  const decimals = decimalsOf(
    runs.flatMap((run) => run.evaluation[name] ?? []),
    info.scale,
  );
  const cells = runs.map((run) => {
    const summary = run.evaluation[name];
    const classes = [run.isTeacher ? 'teacher' : '', best.has(run) ? 'best' : ''].filter(Boolean).join(' ');
    return `<td${classes && ` class="${classes}"`}${summary ? ` title="${escapeHtml(exact(summary))}"` : ''}>${summary ? cell(name, summary, info, decimals) : '<span class="none">–</span>'}</td>`;
  });
  const arrow = info.better ? `&nbsp;<abbr title="${spoken[info.better]}">${arrows[info.better]}</abbr>` : '';
  const unit = info.unit ? ` <span class="unit">${escapeHtml(info.unit)}</span>` : '';
  return `<tr><th scope="row">${escapeHtml(info.label)}${arrow}${unit}</th>${cells.join('')}</tr>`;
}

/** As many decimals as the middle one of the standard errors asks for; without errors, about three significant digits. */
export function decimalsOf(summaries: readonly MetricSummary[], scale: number): number {
  const errors = summaries.flatMap(({ stderr }) => (stderr ? [stderr * scale] : []));
  if (errors.length > 0) return decimalsFor(errors.sort((a, b) => a - b)[Math.floor(errors.length / 2)]!);
  const values = summaries.map(({ mean }) => mean * scale);
  return values.every(Number.isInteger) ? 0 : decimalsFor(Math.max(...values.map(Math.abs)) / 300);
}

export function cell(name: string, summary: MetricSummary, info: MetricInfo, decimals: number): string {
  if (name === 'train_seconds' && summary.stderr === null) return escapeHtml(duration(summary.mean));
  const error =
    summary.stderr === null ? '' : ` <small>± ${fixed(summary.stderr * info.scale, decimals)}</small>`;
  return `<b>${fixed(summary.mean * info.scale, decimals)}</b>${error}`;
}

/** Everything that evaluation.json says of a number, for the tooltip. */
export function exact({ mean, stderr, n, interval }: MetricSummary): string {
  const parts = [`mean ${mean}`, stderr === null ? '' : `standard error ${stderr}`, `n ${n}`];
  if (interval) parts.push(`95 % interval ${interval[0]} to ${interval[1]}`);
  return parts.filter(Boolean).join(', ');
}

/** The same numbers for other programs, as stored (shares not in per cent). */
export function comparisonCsv(runs: readonly Run[]): string {
  const names = orderedMetrics(runs.flatMap((run) => Object.keys(run.evaluation)));
  const rows = names.flatMap((name) =>
    runs.flatMap((run) => {
      const summary = run.evaluation[name];
      if (!summary) return [];
      const [low, high] = summary.interval ?? [null, null];
      return [[run.label, run.method, name, summary.mean, summary.stderr, summary.n, low, high]];
    }),
  );
  return csv(['run', 'method', 'metric', 'mean', 'stderr', 'n', 'interval_low', 'interval_high'], rows);
}
