import { distinct, nameOf, oneAtATime } from '../oracle/digest.js';
import type { EstimatorRow, OracleResult } from '../oracle/oracle.js';

/** How many of the unbiased estimators are listed, the thriftiest first. */
const best = 10;

/** The result for people: one choice at a time, the best of all, and what is biased by design; or every row. */
export function oracleTables(result: OracleResult, all: boolean): string {
  const norm = Math.hypot(...result.gradient.flatMap(({ values }) => values));
  const rows = distinct(result.estimators);
  const unbiased = rows
    .filter((row) => row.claims_unbiased)
    .sort((a, b) => a.variance_per_compute - b.variance_per_compute);
  const perToken = distinct(result.length_normalised.estimators);
  const named = (list: readonly EstimatorRow[]): Line[] => list.map((row) => [nameOf(row), row]);
  const blocks = [
    `reverse KL ${result.kl.toFixed(6)} nats over ${result.sequences} sequences${taskLine(result)}; norm of its gradient in the logits ${norm.toFixed(6)}
variance with the exact value of every action: ${short(result.floor_variance)}`,
    ...(all
      ? [table('every estimator', named(rows))]
      : [
          ...oneAtATime(result.estimators).map(({ axis, options }) =>
            table(
              axis,
              options.map(({ label, row }): Line => [label, row]),
            ),
          ),
          table(
            `unbiased, best ${Math.min(best, unbiased.length)} of ${unbiased.length}`,
            named(unbiased.slice(0, best)),
          ),
        ]),
    table(
      'biased by design',
      result.forms.map((row): Line => [row.name, row]),
    ),
    `E[sum r_t / T]${result.task ? ' and reward' : ''} (length_norm total): ${result.length_normalised.kl.toFixed(6)}${result.task ? '' : ' nats'}, judged against its own gradient`,
    table('estimator', named(perToken.filter((row) => all || row.claims_unbiased))),
    ...(result.left_out > 0
      ? [`${result.left_out} combinations left out: too many joint outcomes of the K samples`]
      : []),
  ];
  return blocks.join('\n\n');
}

/** What is minimised, where it is not the reverse KL alone. */
function taskLine({ kl, task }: OracleResult): string {
  if (!task) return '';
  const { reward, kl_coef } = task;
  return `, mean reward ${reward.toFixed(6)}; minimised: ${kl_coef} KL - reward = ${(kl_coef * kl - reward).toFixed(6)}`;
}

type Line = [label: string, row: EstimatorRow];

const columns: [title: string, width: number, cell: (row: EstimatorRow) => string][] = [
  [
    'bias',
    10,
    (row) =>
      `${row.claims_unbiased ? '*' : ''}${row.relative_bias < 1e-9 ? '0' : row.relative_bias.toPrecision(3)}`,
  ],
  ['cosine', 8, (row) => row.cosine.toFixed(4)],
  ['variance', 11, (row) => short(row.variance)],
  ['x cost', 11, (row) => short(row.variance_per_compute)],
];

/** Four digits. */
function short(x: number): string {
  return x >= 1000 ? x.toFixed(0) : x.toPrecision(4);
}

function table(title: string, lines: readonly Line[]): string {
  const width = Math.max(title.length, ...lines.map(([label]) => label.length)) + 1;
  const head = title.padEnd(width) + columns.map(([name, w]) => name.padStart(w)).join('');
  const body = lines.map(
    ([label, row]) => label.padEnd(width) + columns.map(([, w, cell]) => cell(row).padStart(w)).join(''),
  );
  return [head, ...body].join('\n');
}
