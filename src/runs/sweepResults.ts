import { existsSync, readFileSync } from 'node:fs';
import { summarize } from '../evaluation/metrics/statistics.js';
import { parseEvaluation } from './evaluationFiles.js';
import { readMetrics } from './metricsLog.js';
import { runPaths } from './runDirectory.js';
import { type BudgetKind, budgets, type Sweep, type SweepRun } from './sweepConfig.js';
import type { Measured } from './sweepEvaluation.js';

/** What became of a run. */
export interface SweepOutcome {
  run: SweepRun;
  directory: string;
  /** The line that a failed run ended with. */
  error?: string;
}

/** What became of the measurement of a teacher or a starting student. */
export interface ReferenceOutcome {
  measured: Measured;
  error?: string;
}

/** One line of the table. */
export interface SweepRow {
  name: string;
  fields: Record<string, unknown>;
  status: 'done' | 'failed';
  error?: string;
  directory: string;
  steps: number;
  train_seconds: number;
  teacher_tokens: number;
  /** From evaluation.json, or the last validation (`valid_` left off); mean and standard error over prompts. */
  metrics: Record<string, { mean: number; stderr: number | null }>;
}

/** Runs that differ in their seed alone. */
export interface SweepGroup {
  fields: Record<string, unknown>;
  seeds: number;
  /** Over seeds: mean and standard error of the runs' means. */
  metrics: Record<string, { mean: number; stderr: number | null }>;
}

export interface SweepResults {
  /** What is equal in all runs, in words. */
  budget: string;
  /** The student that all runs start from, or that they differ in it. */
  student: string;
  data_order: string;
  measured_on: string;
  /** The teacher, and the student that the runs began as, measured alike. */
  references: SweepRow[];
  runs: SweepRow[];
  groups: SweepGroup[];
}

/** Everything that the table, `--json` and sweep.json say, from the run directories. */
export function sweepResults(
  sweep: Sweep,
  outcomes: readonly SweepOutcome[],
  references: readonly ReferenceOutcome[] = [],
): SweepResults {
  const runs = outcomes.map(({ run, directory, error }) =>
    rowOf(run, directory, error, sweep.evaluate !== undefined),
  );
  const { kind, amount } = sweep.budget;
  const students = [...new Set(outcomes.map(({ run }) => JSON.stringify(run.config.student)))];
  const allowed = kind === 'steps' ? outcomes[0]!.run.config.train.steps : amount;
  return {
    budget: `${budgets[kind]}${allowed === undefined ? '' : `: ${allowed}`}`,
    student:
      students.length === 1
        ? `one for all: ${JSON.parse(students[0]!)}`
        : `${students.length} different ones`,
    data_order: 'a function of the seed, the same for every method',
    measured_on: sweep.evaluate
      ? `${sweep.evaluate.model}/ on ${sweep.evaluate.data}, seeds ${sweep.evaluate.seeds.join(', ')}`
      : 'the last validation',
    references: references.map(({ measured: { label, directory }, error }) =>
      rowOf({ name: label, fields: {} }, directory, error, true),
    ),
    runs,
    groups: groupsOf(runs, sweep.axes),
  };
}

/** How much of its budget a run has used, by the last line of its logs; 0 where there is nothing yet. */
export function spent(directory: string, kind: BudgetKind): number {
  const paths = runPaths(directory);
  if (kind === 'teacher_tokens') return lastNumber(paths.metrics, 'teacher_tokens');
  return lastNumber(paths.timing, kind === 'seconds' ? 'train_s' : 'step');
}

/** A field of the last whole line that has it; the file is being written. */
function lastNumber(file: string, field: string): number {
  if (!existsSync(file)) return 0;
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .findLast((text) => text.includes(`"${field}":`));
  try {
    return Number((JSON.parse(line ?? '{}') as Record<string, unknown>)[field] ?? 0);
  } catch {
    return 0;
  }
}

function rowOf(
  run: Pick<SweepRun, 'name' | 'fields'>,
  directory: string,
  error: string | undefined,
  measured: boolean,
): SweepRow {
  const paths = runPaths(directory);
  const timing = existsSync(paths.timing) ? readMetrics(paths.timing) : [];
  const logged = existsSync(paths.metrics) ? readMetrics(paths.metrics) : [];
  return {
    name: run.name,
    fields: run.fields,
    status: error === undefined ? 'done' : 'failed',
    ...(error !== undefined && { error }),
    directory,
    steps: timing.at(-1)?.step ?? 0,
    train_seconds: Number(timing.at(-1)?.train_s ?? 0),
    teacher_tokens: Number(logged.findLast((row) => row.phase === 'train')?.teacher_tokens ?? 0),
    metrics: measured && existsSync(paths.evaluation) ? evaluated(paths.evaluation) : validated(logged),
  };
}

function evaluated(file: string): SweepRow['metrics'] {
  const { metrics } = parseEvaluation(readFileSync(file, 'utf8'), file);
  return Object.fromEntries(
    Object.entries(metrics).map(([name, { mean, stderr }]) => [name, { mean, stderr }]),
  );
}

function validated(logged: ReturnType<typeof readMetrics>): SweepRow['metrics'] {
  const last = logged.findLast((row) => row.phase === 'valid') ?? {};
  return Object.fromEntries(
    Object.entries(last).flatMap(([name, value]) =>
      name.startsWith('valid_') && typeof value === 'number'
        ? [[name.slice('valid_'.length), { mean: value, stderr: null }]]
        : [],
    ),
  );
}

function groupsOf(rows: readonly SweepRow[], axes: readonly string[]): SweepGroup[] {
  const told = axes.filter((axis) => axis !== 'seed');
  const groups = new Map<string, SweepRow[]>();
  for (const row of rows.filter(({ status }) => status === 'done')) {
    const key = JSON.stringify(told.map((axis) => row.fields[axis]));
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((members) => ({
    fields: Object.fromEntries(told.map((axis) => [axis, members[0]!.fields[axis]])),
    seeds: members.length,
    metrics: Object.fromEntries(
      Object.keys(members[0]!.metrics)
        .filter((name) => members.every((row) => name in row.metrics))
        .map((name) => {
          const { mean, stderr } = summarize(members.map((row) => row.metrics[name]!.mean));
          return [name, { mean, stderr }];
        }),
    ),
  }));
}
