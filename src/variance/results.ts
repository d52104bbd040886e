import type { Estimator } from './grid.js';
import type { Cost, Measurement } from './measure.js';
import { type StatisticsOptions, type VarianceStatistics, varianceStatistics } from './statistics.js';

/** One estimator as it is reported. */
export interface EstimatorResult extends VarianceStatistics {
  name: string;
  returns: string;
  baseline: string;
  importance: string;
  sampling: string;
  alpha: number;
  length_norm: string;
  single_step: boolean;
  /** (Σ w)² / (N Σ w²), a share of the tokens. */
  effective_sample_size: number;
  cost: Cost;
  /** Trace of the covariance times the computation of an estimate: the lower, the more a unit of computation buys. */
  variance_computation: number;
  /** Computation for the rollouts that reach the target, in tokens of the student's forward pass. */
  computation_needed: number;
}

/** The measured estimators, those that need the fewest rollouts first. */
export function results(
  measurements: readonly Measurement[],
  reference: Estimator,
  estimators: readonly Estimator[],
  rollouts: number,
  options: StatisticsOptions,
): EstimatorResult[] {
  const byName = new Map([reference, ...estimators].map((e) => [e.name, e]));
  const base = measurements.find(({ name }) => name === reference.name)!.own;
  return measurements
    .map(({ name, own, cross, effective_sample_size, cost }): EstimatorResult => {
      const { objective, sampling } = byName.get(name)!;
      const { returns, baseline, importance, alpha, length_norm, single_step } = objective;
      const statistics = varianceStatistics({ own, cross, reference: base, rollouts }, options);
      return {
        name,
        ...{ returns, baseline, importance, sampling, alpha, length_norm, single_step },
        ...statistics,
        effective_sample_size,
        cost,
        variance_computation: statistics.variance.value * cost.computation,
        computation_needed: (statistics.rollouts_needed.value / rollouts) * cost.computation,
      };
    })
    .sort((a, b) => a.rollouts_needed.value - b.rollouts_needed.value || (a.name < b.name ? -1 : 1));
}

const numbers = [
  'variance',
  'relative_variance',
  'squared_norm',
  'signal_to_noise',
  'rollouts_needed',
  'relative_rollouts',
  'cosine',
  'mean_cosine',
] as const satisfies (keyof VarianceStatistics)[];

/** One line an estimator: every number with the ends of its interval; what is infinite is left empty. */
export function resultsCsv(rows: readonly EstimatorResult[]): string {
  const head = [
    'estimator',
    ...numbers.flatMap((name) => [name, `${name}_low`, `${name}_high`]),
    'effective_sample_size',
    'sampling_s',
    'gradient_s',
    'student_tokens',
    'teacher_tokens',
    'computation',
    'variance_computation',
    'computation_needed',
  ];
  const lines = rows.map((row) => [
    row.name,
    ...numbers.flatMap((name) => [row[name].value, ...row[name].interval]),
    row.effective_sample_size,
    row.cost.sampling_s,
    row.cost.gradient_s,
    row.cost.student_tokens,
    row.cost.teacher_tokens,
    row.cost.computation,
    row.variance_computation,
    row.computation_needed,
  ]);
  const cell = (x: string | number): string | number => (x === Infinity ? '' : x);
  return `${[head, ...lines].map((line) => line.map(cell).join(',')).join('\n')}\n`;
}
