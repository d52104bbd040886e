import { aligned } from './alignedText.js';
import type { SweepGroup, SweepResults, SweepRow } from './sweepResults.js';

/** Metrics shown in the tables, in this order; all of them are in sweep.json and sweep.csv. */
const shown: readonly [metric: string, title: string, decimals: number][] = [
  ['rouge_l_sampled', 'Rouge-L', 1],
  ['reverse_kl_seq', 'RKL/seq', 2],
  ['reverse_kl_token', 'RKL/token', 3],
  ['forward_kl_token', 'FKL/token', 3],
  ['lm_loss', 'LM loss', 3],
  ['objective', 'own loss', 4],
  ['length', 'length', 1],
];

/** What is equal, one line a run, and one line for runs that differ in their seed alone. */
export function sweepTable(results: SweepResults): string {
  const { references, runs, groups } = results;
  const columns = shown.filter(([metric]) => runs.some((row) => metric in row.metrics));
  const cells = (of: SweepRow | SweepGroup): string[] =>
    columns.map(([metric, , decimals]) => {
      const found = of.metrics[metric];
      if (!found) return '-';
      const error = found.stderr === null ? '' : ` ±${found.stderr.toFixed(decimals)}`;
      return `${found.mean.toFixed(decimals)}${error}`;
    });
  const titles = columns.map(([, title]) => title);
  const lines = [
    `budget: ${results.budget}`,
    `student: ${results.student}`,
    `data order: ${results.data_order}`,
    `measured: ${results.measured_on}`,
    '',
    aligned([
      ['run', ...titles, 'steps', 'train s', 'teacher tokens'],
      ...references.map((row) => [nameOf(row), ...cells(row), '-', '-', '-']),
      ...runs.map((row) => [
        nameOf(row),
        ...cells(row),
        String(row.steps),
        row.train_seconds.toFixed(1),
        String(row.teacher_tokens),
      ]),
    ]),
  ];
  if (groups.some(({ seeds }) => seeds > 1)) {
    const name = ({ fields }: SweepGroup): string => Object.values(fields).map(text).join(' ') || 'all';
    lines.push('', 'mean over seeds ± standard error:', '');
    lines.push(
      aligned([
        ['', 'seeds', ...titles],
        ...groups.map((group) => [name(group), String(group.seeds), ...cells(group)]),
      ]),
    );
  }
  for (const row of [...references, ...runs]) if (row.error) lines.push('', `${row.name}: ${row.error}`);
  return lines.join('\n');
}

function nameOf({ name, status }: SweepRow): string {
  return status === 'done' ? name : `${name} (failed)`;
}

/** Every run with every field of the grid and every metric. */
export function sweepCsv({ runs }: SweepResults): string {
  const fields = [...new Set(runs.flatMap((row) => Object.keys(row.fields)))];
  const metrics = [...new Set(runs.flatMap((row) => Object.keys(row.metrics)))];
  const head = ['run', ...fields, 'status', 'steps', 'train_seconds', 'teacher_tokens'];
  const rows = runs.map((row) => [
    row.name,
    ...fields.map((field) => text(row.fields[field])),
    ...[row.status, row.steps, row.train_seconds, row.teacher_tokens],
    ...metrics.flatMap((name) => [row.metrics[name]?.mean ?? '', row.metrics[name]?.stderr ?? '']),
  ]);
  return [[...head, ...metrics.flatMap((name) => [name, `${name}_stderr`])], ...rows]
    .map((row) => `${row.map((cell) => quoted(String(cell))).join(',')}\n`)
    .join('');
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

function quoted(cell: string): string {
  return /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
