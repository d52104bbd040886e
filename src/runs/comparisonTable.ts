import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Summary } from '../evaluation/metrics/statistics.js';

/** Columns of the comparison, and how many decimals tell something. */
const columns: readonly [metric: string, title: string, decimals: number][] = [
  ['rouge_l_sampled', 'Rouge-L T=1', 1],
  ['rouge_l_greedy', 'greedy', 1],
  ['reverse_kl_seq', 'RKL/seq', 2],
  ['reverse_kl_token', 'RKL/token', 3],
  ['forward_kl_token', 'FKL/token', 3],
  ['lm_loss', 'LM loss', 3],
  ['sample_diversity', 'diversity', 2],
  ['length', 'length', 1],
  ['empty', 'empty %', 1],
];

interface EvaluationFile {
  metrics: Record<string, Summary>;
  train_seconds?: number;
  steps?: number;
}

/** The comparison of several evaluated runs as aligned text: mean ±standard error, one line a model. */
export async function comparisonTable(runDirs: readonly string[]): Promise<string> {
  const rows = [['', ...columns.map(([, title]) => title), 'steps', 'train s']];
  for (const directory of runDirs) {
    const file = JSON.parse(await readFile(join(directory, 'evaluation.json'), 'utf8')) as EvaluationFile;
    const cells = columns.map(([metric, , decimals]) =>
      cell(file.metrics[metric], metric === 'empty' ? 100 : 1, decimals),
    );
    rows.push([
      basename(directory),
      ...cells,
      String(file.steps ?? '-'),
      file.train_seconds?.toFixed(0) ?? '-',
    ]);
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join('  '),
    )
    .join('\n');
}

function cell(summary: Summary | undefined, scale: number, decimals: number): string {
  if (!summary) return '-';
  const mean = (summary.mean * scale).toFixed(decimals);
  return summary.stderr === null ? mean : `${mean} ±${(summary.stderr * scale).toFixed(decimals)}`;
}
