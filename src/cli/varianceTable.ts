import type { EstimatorResult } from '../variance/results.js';
import type { Estimate } from '../variance/statistics.js';

/** The measured estimators for people, the thriftiest first. */
export function varianceTable(rows: readonly EstimatorResult[], reference: string): string {
  const width = Math.max(...rows.map(({ name }) => name.length), 9) + 2;
  const columns: [title: string, width: number, cell: (row: EstimatorResult) => string][] = [
    ['rollouts', 19, (row) => withInterval(row.rollouts_needed)],
    [
      'rel. rollouts',
      24,
      (row) => (row.name === reference ? 'reference' : withInterval(row.relative_rollouts)),
    ],
    ['variance', 24, (row) => withInterval(row.variance)],
    [
      'rel. variance',
      24,
      (row) => (row.name === reference ? 'reference' : withInterval(row.relative_variance)),
    ],
    ['cosine', 8, (row) => row.cosine.value.toFixed(3)],
    ['mean cos', 24, (row) => withInterval(row.mean_cosine)],
    ['ESS', 7, (row) => row.effective_sample_size.toFixed(3)],
    ['s/est.', 8, (row) => short(row.cost.sampling_s + row.cost.gradient_s)],
    ['computation', 12, (row) => short(row.computation_needed)],
  ];
  const head = 'estimator'.padEnd(width) + columns.map(([title, w]) => ` ${title.padStart(w)}`).join('');
  const lines = rows.map(
    (row) => row.name.padEnd(width) + columns.map(([, w, cell]) => ` ${cell(row).padStart(w)}`).join(''),
  );
  return [head, ...lines].join('\n');
}

function withInterval({ value, interval: [low, high] }: Estimate): string {
  return `${short(value)} [${short(low)}, ${short(high)}]`;
}

/** Three digits. */
function short(x: number): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? '–' : '∞';
  return x >= 1000 ? x.toFixed(0) : String(Number(x.toPrecision(3)));
}
