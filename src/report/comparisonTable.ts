import { type MetricInfo, metricInfo, orderedMetrics } from './catalog.js';
import type { Entry } from './entries.js';
import { csv, escapeHtml } from './escape.js';
import type { MetricSummary } from './evaluationFile.js';
import { decimalsFor, duration, fixed, ranged } from './format.js';
import { colorVariable } from './palette.js';
import type { Run } from './runs.js';
import { intervalBasis, shownInterval } from './uncertainty.js';

export const arrows = { higher: '↑', lower: '↓', teacher: '≈' };
export const spoken = {
  higher: 'higher is better',
  lower: 'lower is better',
  teacher: 'best near the teacher',
};

/** All metrics: a row a metric, a column an entry, intervals in small print. */
export function comparisonTable(
  runs: readonly Entry[],
  colors: ReadonlyMap<Entry, number>,
  label: string,
  bold: (name: string) => ReadonlySet<Entry>,
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
    return heading + tableRow(name, info, measured, bold(name));
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(label)}"><table class="comparison">
<thead><tr><th scope="col">Metric</th>${heads.join('')}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div>`;
}

function tableRow(name: string, info: MetricInfo, runs: readonly Entry[], best: ReadonlySet<Entry>): string {
  const decimals = decimalsOf(
    runs.flatMap((run) => run.evaluation[name] ?? []),
    info.scale,
  );
  const cells = runs.map((run) => {
    const summary = run.evaluation[name];
    const classes = [run.isTeacher ? 'teacher' : '', best.has(run) ? 'best' : ''].filter(Boolean).join(' ');
    return `<td${classes && ` class="${classes}"`}${summary ? ` title="${escapeHtml(spelled(name, run, decimals))}"` : ''}>${summary ? cell(name, summary, info, decimals) : '<span class="none">–</span>'}</td>`;
  });
  const arrow = info.better ? `&nbsp;<abbr title="${spoken[info.better]}">${arrows[info.better]}</abbr>` : '';
  const unit = info.unit ? ` <span class="unit">${escapeHtml(info.unit)}</span>` : '';
  return `<tr><th scope="row">${escapeHtml(info.label)}${arrow}${unit}</th>${cells.join('')}</tr>`;
}

/** As many decimals as the middle one of the standard errors asks for; without errors, about three significant digits. */
export function decimalsOf(summaries: readonly MetricSummary[], scale: number): number {
  const errors = summaries.flatMap((summary) => {
    const span = shownInterval(summary);
    return span && span[1] > span[0] ? [((span[1] - span[0]) / 4) * scale] : [];
  });
  if (errors.length > 0) return decimalsFor(errors.sort((a, b) => a - b)[Math.floor(errors.length / 2)]!);
  const values = summaries.map(({ mean }) => mean * scale);
  return values.every(Number.isInteger) ? 0 : decimalsFor(Math.max(...values.map(Math.abs)) / 300);
}

/** The number, with its interval below in small print. */
export function cell(name: string, summary: MetricSummary, info: MetricInfo, decimals: number): string {
  const span = shownInterval(summary);
  if (name === 'train_seconds') {
    const spread = span ? ` <small>${span.map((x) => duration(Math.max(0, x))).join('–')}</small>` : '';
    return `${duration(summary.mean)}${spread}`;
  }
  const wide = span && span[1] > span[0];
  const small = wide ? ` <small>${ranged(span[0] * info.scale, span[1] * info.scale, decimals)}</small>` : '';
  return `<b>${fixed(summary.mean * info.scale, decimals)}</b>${small}`;
}

/** The number in words, for the tooltip: `KD: Rouge-L, sampled 17.0, 95 % interval 15.8 to 18.2 over prompts`. */
export function spelled(name: string, entry: Entry, decimals: number): string {
  const summary = entry.evaluation[name]!;
  const { label, unit, scale } = metricInfo(name);
  const shown = fixed(summary.mean * scale, decimals);
  const span = shownInterval(summary);
  const interval = span
    ? `, 95 % interval ${fixed(span[0] * scale, decimals)} to ${fixed(span[1] * scale, decimals)} ${intervalBasis(entry, summary)}`
    : '';
  return `${entry.label}: ${label} ${shown}${unit && ` ${unit}`}${interval}`;
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
