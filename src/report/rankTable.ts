import { boldEntries } from './best.js';
import { metricInfo, orderedMetrics } from './catalog.js';
import { arrows, cell, decimalsOf, spelled, spoken } from './comparisonTable.js';
import type { Entry } from './entries.js';
import { escapeHtml } from './escape.js';
import { colorVariable } from './palette.js';

/**
 * The main table: a row a model, a column a main metric. The page's script turns its heads into buttons that sort; the
 * teacher stays on top, for it is what the others are compared with.
 */
export function rankTable(entries: readonly Entry[], colors: ReadonlyMap<Entry, number>): string {
  const measured = entries.filter((entry) => Object.keys(entry.evaluation).length > 0);
  const names = orderedMetrics(measured.flatMap((entry) => Object.keys(entry.evaluation))).filter(
    (name) => metricInfo(name).column !== undefined,
  );
  if (names.length === 0) return '';
  const decimals = new Map(
    names.map((name) => [
      name,
      decimalsOf(
        measured.flatMap((entry) => entry.evaluation[name] ?? []),
        metricInfo(name).scale,
      ),
    ]),
  );
  const best = new Map(names.map((name) => [name, boldEntries(name, measured)]));
  const heads = names.map((name) => {
    const { column, better, unit } = metricInfo(name);
    const arrow = better ? `&nbsp;<abbr title="${spoken[better]}">${arrows[better]}</abbr>` : '';
    const first = better === 'higher' ? 'descending' : 'ascending';
    return `<th scope="col" data-first="${first}"><span>${escapeHtml(column!)}${arrow}</span>${unit ? `<small>${escapeHtml(unit)}</small>` : ''}</th>`;
  });
  const row = (entry: Entry): string => {
    const cells = names.map((name) => {
      const summary = entry.evaluation[name];
      if (!summary) return '<td><span class="none">–</span></td>';
      const info = metricInfo(name);
      const mark = best.get(name)!.has(entry) ? ' class="best"' : '';
      return `<td${mark} data-v="${summary.mean * info.scale}" title="${escapeHtml(spelled(name, entry, decimals.get(name)!))}">${cell(name, summary, info, decimals.get(name)!)}</td>`;
    });
    const dot = `<span class="dot" style="background:${colorVariable(colors.get(entry)!)}"></span>`;
    const seeds = entry.runs.length > 1 ? `<small>${entry.runs.length} training seeds</small>` : '';
    return `<tr${entry.isTeacher ? ' class="teacher"' : ''}><th scope="row" data-v="${escapeHtml(entry.label)}">${dot}${escapeHtml(entry.label)}${seeds}</th>${cells.join('')}</tr>`;
  };
  const bodies = [true, false]
    .map((teacher) => measured.filter((entry) => entry.isTeacher === teacher).map(row))
    .filter((rows) => rows.length > 0)
    .map((rows) => `<tbody>${rows.join('\n')}</tbody>`);
  return `<div class="scroll" tabindex="0" role="region" aria-label="Models by main metrics"><table class="rank">
<thead><tr><th scope="col" data-first="ascending"><span>Model</span></th>${heads.join('')}</tr></thead>
${bodies.join('\n')}</table></div>`;
}
