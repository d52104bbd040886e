import { aligned } from '../runs/alignedText.js';
import type { EstimatorResult } from '../variance/results.js';
import type { Estimate } from '../variance/statistics.js';

/** The measured estimators for people, the thriftiest first. */
export function varianceTable(rows: readonly EstimatorResult[], reference: string): string {
  const relative = (row: EstimatorResult, estimate: Estimate): string =>
    row.name === reference ? 'reference' : withInterval(estimate);
  const columns: [title: string, cell: (row: EstimatorResult) => string][] = [
    ['estimator', (row) => row.name],
    ['rollouts', (row) => withInterval(row.rollouts_needed)],
    ['rel. rollouts', (row) => relative(row, row.relative_rollouts)],
    ['variance', (row) => withInterval(row.variance)],
    ['rel. variance', (row) => relative(row, row.relative_variance)],
    ['cosine', (row) => row.cosine.value.toFixed(3)],
    ['mean cos', (row) => withInterval(row.mean_cosine)],
    ['ESS', (row) => row.effective_sample_size.toFixed(3)],
    ['s/est.', (row) => short(row.cost.sampling_s + row.cost.gradient_s)],
    ['computation', (row) => short(row.computation_needed)],
  ];
  return aligned([
    columns.map(([title]) => title),
    ...rows.map((row) => columns.map(([, cell]) => cell(row))),
  ]);
}

function withInterval({ value, interval: [low, high] }: Estimate): string {
  return `${short(value)} [${short(low)}, ${short(high)}]`;
}

/** Three digits. */
function short(x: number): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? '–' : '∞';
  return x >= 1000 ? x.toFixed(0) : String(Number(x.toPrecision(3)));
}
