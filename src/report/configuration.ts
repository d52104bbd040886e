import { escapeHtml } from './escape.js';
import type { Run } from './runs.js';

/** A nested configuration as `a.b.c` -> text; a list is one value. */
export function flatten(value: unknown, prefix = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return new Map(
      prefix === '' ? [] : [[prefix, typeof value === 'string' ? value : (JSON.stringify(value) ?? '')]],
    );
  }
  return new Map(
    Object.entries(value).flatMap(([key, child]) => [
      ...flatten(child, prefix === '' ? key : `${prefix}.${key}`),
    ]),
  );
}

/** The fields in which the flattened records differ, in the order of their first appearance. */
export function differences(records: readonly Map<string, string>[]): string[] {
  const keys = new Set(records.flatMap((record) => [...record.keys()]));
  return [...keys].filter((key) => new Set(records.map((record) => record.get(key))).size > 1);
}

function table(head: readonly string[], rows: readonly (readonly string[])[], label: string): string {
  const cells = (row: readonly string[]): string =>
    row
      .map((text, i) =>
        i === 0 ? `<th scope="row">${escapeHtml(text)}</th>` : `<td>${escapeHtml(text)}</td>`,
      )
      .join('');
  const header = head.map((text) => `<th scope="col">${escapeHtml(text)}</th>`).join('');
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(label)}"><table class="plain"><thead><tr>${header}</tr></thead>
<tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join('\n')}</tbody></table></div>`;
}

/** `x` where all say so, else `A, B: x; C: y`. */
export function byValue(pairs: readonly (readonly [label: string, value: string])[]): string {
  const labels = new Map<string, string[]>();
  for (const [label, value] of pairs) labels.set(value, [...(labels.get(value) ?? []), label]);
  if (labels.size === 1) return pairs[0]![1];
  return [...labels].map(([value, own]) => `${own.join(', ')}: ${value}`).join('; ');
}

/** Environment, what the configurations differ in, and every configuration in full. */
export function configurationSection(runs: readonly Run[]): string {
  const parts: string[] = [];
  const known = runs.filter((run) => Object.keys(run.environment).length > 0);
  const environments = known.map((run) => flatten(run.environment));
  const fields = [...new Set(environments.flatMap((record) => [...record.keys()]))];
  if (fields.length > 0) {
    const rows = fields.map((field) => [
      field,
      byValue(known.map((run, i) => [run.label, environments[i]!.get(field) ?? 'unknown'])),
    ]);
    // What is the same everywhere comes first.
    const unlike = new Set(differences(environments));
    rows.sort((a, b) => Number(unlike.has(a[0]!)) - Number(unlike.has(b[0]!)));
    parts.push('<h3>Environment</h3>', table(['Field', 'Value'], rows, 'Environment'));
  } else parts.push('<p class="absent">No environment.json was found.</p>');
  const configured = runs.filter((run) => run.configText !== null);
  if (configured.length > 1) {
    const records = configured.map((run) => flatten(run.config));
    const rows = differences(records).map((field) => [
      field,
      ...records.map((record) => record.get(field) ?? '–'),
    ]);
    parts.push('<h3>Where the configurations differ</h3>');
    parts.push(
      rows.length > 0
        ? table(['Field', ...configured.map((run) => run.label)], rows, 'Configuration differences')
        : '<p class="absent">Nowhere: all configurations are the same.</p>',
    );
  }
  if (configured.length > 0) parts.push('<h3>Configurations in full</h3>');
  else parts.push('<p class="absent">No config.resolved.yaml was found.</p>');
  for (const run of configured) {
    parts.push(
      `<details><summary>${escapeHtml(run.label)}</summary><pre tabindex="0">${escapeHtml(run.configText)}</pre></details>`,
    );
  }
  return parts.join('\n');
}
