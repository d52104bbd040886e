import { basename, join } from 'node:path';
import { pairedDifference, type Summary } from '../evaluation/metrics/statistics.js';
import { aligned } from './alignedText.js';
import { readEvaluation } from './evaluationFiles.js';

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

/** The comparison of several evaluated runs: mean ±standard error, one row a model behind the titles. */
export async function comparisonRows(runDirs: readonly string[]): Promise<string[][]> {
  const rows = [['', ...columns.map(([, title]) => title), 'steps', 'train s']];
  for (const directory of runDirs) {
    const file = await readEvaluation(join(directory, 'evaluation.json'));
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
  return rows;
}

/** `comparisonRows` as aligned text. */
export const comparisonTable = async (runDirs: readonly string[]): Promise<string> =>
  aligned(await comparisonRows(runDirs));

function cell(
  summary: Pick<Summary, 'mean' | 'stderr'> | undefined,
  scale: number,
  decimals: number,
): string {
  if (!summary) return '-';
  const mean = (summary.mean * scale).toFixed(decimals);
  return summary.stderr === null ? mean : `${mean} ±${(summary.stderr * scale).toFixed(decimals)}`;
}

/**
 * One model minus each of the others on the same prompts: mean difference and its 95 % bootstrap interval over prompts
 * (`pairedDifference`), which is far narrower than the separate errors suggest. One row a model behind the titles.
 */
export async function pairedRows(runDir: string, others: readonly string[]): Promise<string[][]> {
  const read = async (directory: string): Promise<Record<string, number[]>> =>
    (await readEvaluation(join(directory, 'evaluation.json'))).per_prompt ?? {};
  const own = await read(runDir);
  const shown = columns.filter(([metric]) => pairedMetrics.includes(metric) && own[metric]);
  const rows = [['difference', ...shown.map(([, title]) => title)]];
  for (const directory of others) {
    const theirs = await read(directory);
    const cells = shown.map(([metric, , decimals]) => {
      const [a, b] = [own[metric]!, theirs[metric]];
      if (b?.length !== a.length) return '-';
      const { mean, interval } = pairedDifference(a, b, { seed: 0, name: metric });
      return `${mean.toFixed(decimals)} [${interval!.map((x) => x.toFixed(decimals)).join(', ')}]`;
    });
    rows.push([`${basename(runDir)} − ${basename(directory)}`, ...cells]);
  }
  return rows;
}

/** `pairedRows` as aligned text. */
export const pairedTable = async (runDir: string, others: readonly string[]): Promise<string> =>
  aligned(await pairedRows(runDir, others));

const pairedMetrics = ['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_seq', 'reverse_kl_token', 'lm_loss'];
