import type { EstimatorRow } from './oracle.js';

/** What one axis of choice does while the others stay where they are. */
export interface Section {
  axis: string;
  options: { label: string; row: EstimatorRow }[];
}

/** The estimator that everything else is compared with: the project's choice of returns and baseline, without mixing. */
export const reference = {
  single_step: true,
  returns: 'rao-blackwell',
  baseline: 'position',
  importance: 'none',
  sampling: 'independent',
  alpha: 0,
} as const satisfies Partial<EstimatorRow>;

/** One choice at a time, the others as in `reference`: the part of thousands of rows that a person reads. */
export function oneAtATime(rows: readonly EstimatorRow[]): Section[] {
  /** All options of one axis. */
  const along = (axis: keyof typeof reference, alpha: number = reference.alpha): EstimatorRow[] =>
    rows.filter((row) =>
      Object.entries({ ...reference, alpha }).every(
        ([name, value]) => name === axis || row[name as keyof EstimatorRow] === value,
      ),
    );
  const mixed = rows.find((row) => row.alpha > 0)?.alpha;
  const sections: [axis: string, rows: EstimatorRow[], label: (row: EstimatorRow) => string][] = [
    ['split', along('single_step'), split],
    ['returns', along('returns'), (row) => row.returns + critic(row)],
    ['baseline', along('baseline'), (row) => row.baseline + critic(row) + count(row)],
    ['sampling', along('sampling'), (row) => row.sampling + count(row)],
    [
      `weights at alpha ${mixed}`,
      mixed === undefined ? [] : along('importance', mixed),
      (row) => row.importance,
    ],
  ];
  return sections
    .map(([axis, own, label]) => ({ axis, options: own.map((row) => ({ label: label(row), row })) }))
    .filter(({ options }) => options.length > 0);
}

/** Estimators that differ: without mixing all corrections are one, and coupled pairs are alike whatever K. */
export function distinct(rows: readonly EstimatorRow[]): EstimatorRow[] {
  const seen = new Set<string>();
  return rows.filter((row) => {
    if (row.alpha === 0 && row.importance !== 'none') return false;
    const { samples: _, cost: __, variance_per_compute: ___, relative_bias: ____, ...rest } = row;
    const key = JSON.stringify({ ...rest, variance: row.variance.toPrecision(9) });
    return !seen.has(key) && seen.add(key);
  });
}

/** The whole name of an estimator: returns/baseline/importance/sampling/alpha, as `minillm variance` writes it. */
export function nameOf(row: EstimatorRow): string {
  const parts = [
    row.returns + critic(row),
    row.baseline,
    row.importance,
    row.sampling + count(row),
    row.alpha,
  ];
  return `${row.single_step ? '' : 'R_t alone: '}${parts.join('/')}`;
}

function split(row: EstimatorRow): string {
  return row.single_step ? 'single step' : 'R_t alone';
}

/** Whose V(s), or Q(s,a), is read. */
function critic(row: EstimatorRow): string {
  if (row.values === 'none') return '';
  return ` (${row.values} ${row.baseline === 'action-value' ? 'Q' : 'V'})`;
}

function count(row: EstimatorRow): string {
  return row.samples > 1 ? ` K=${row.samples}` : '';
}
