/** The measured students of a sweep, for the tables and figures of the experiments. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { summarize } from '../src/evaluation/metrics/statistics.js';
import { integer, stream } from '../src/random/streams.js';
import { type EvaluationFile, readEvaluation } from '../src/report/evaluationFile.js';
import type { SweepRow } from '../src/runs/sweepResults.js';

/** One training run. */
export interface Student extends EvaluationFile {
  name: string;
  /** The fields of the grid that make the run what it is. */
  fields: Record<string, unknown>;
  directory: string;
  steps: number;
  trainSeconds: number;
}

/**
 * The finished runs of a sweep, in its order.
 *
 * @param place where each run's evaluation.json lies; default the run's directory
 */
export function readSweepStudents(
  sweepDirectory: string,
  place: (name: string) => string = (name) => join(sweepDirectory, name),
): Student[] {
  const { runs } = JSON.parse(readFileSync(join(sweepDirectory, 'sweep.json'), 'utf8')) as {
    runs: SweepRow[];
  };
  const failed = runs.filter((run) => run.status !== 'done').map((run) => run.name);
  if (failed.length > 0)
    throw new Error(`${sweepDirectory}: ${failed.join(', ')} failed; run the sweep again`);
  return runs.map(({ name, fields, directory, steps, train_seconds }) => ({
    ...readMeasurement(place(name)),
    ...{ name, fields, directory, steps, trainSeconds: train_seconds },
  }));
}

/** What a directory's evaluation.json says. */
export function readMeasurement(directory: string): EvaluationFile {
  return readEvaluation(JSON.parse(readFileSync(join(directory, 'evaluation.json'), 'utf8')));
}

/** Runs that differ in the training seed alone. */
export function bySeeds(students: readonly Student[]): Map<string, Student[]> {
  const groups = new Map<string, Student[]>();
  for (const student of students) {
    const { seed: _, ...rest } = student.fields;
    const key = Object.values(rest)
      .map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
      .join(' ');
    groups.set(key, [...(groups.get(key) ?? []), student]);
  }
  return groups;
}

/** A metric over training seeds: mean of the runs' means, standard error over runs. */
export function overRuns(group: readonly Student[], metric: string) {
  return summarize(group.map((student) => meanOf(student, metric)));
}

function meanOf({ metrics, name }: Student, metric: string): number {
  const found = metrics[metric];
  if (!found) throw new Error(`${name}: its evaluation has no ${metric}; measure it again`);
  return found.mean;
}

/** Mean and standard error over training seeds for one metric after the other, as cells of a table. */
export function meansAndErrors(group: readonly Student[], metrics: readonly string[]): (number | null)[] {
  return metrics.flatMap((metric) => {
    const { mean, stderr } = overRuns(group, metric);
    return [mean, stderr];
  });
}

export interface Difference {
  mean: number;
  low: number;
  high: number;
}

/**
 * How much group `a` is above group `b`: runs of the same training seed paired, values of the same prompt paired, and a 95 %
 * percentile bootstrap that draws training seeds and prompts with replacement (two-stage bootstrap; Davison & Hinkley,
 * "Bootstrap Methods and their Application", 1997, section 3.8). With few training seeds the interval is too short rather
 * than too long: n seeds drawn with replacement show (n−1)/n of their variance.
 *
 * @param resamples how often (1,000)
 * @throws Error when the groups were not measured on the same prompts with the same seeds
 */
export function pairedGroups(
  a: readonly Student[],
  b: readonly Student[],
  metric: string,
  resamples = 1000,
): Difference {
  return bootstrapTwoStage(pairedValues(a, b, metric), resamples, metric);
}

/** `pairedGroups` as cells of a table: the mean and its interval. */
export function differenceCells(a: readonly Student[], b: readonly Student[], metric: string): number[] {
  const { mean, low, high } = pairedGroups(a, b, metric);
  return [mean, low, high];
}

/** values[seed][prompt] of group `a` minus those of group `b`. @throws Error as pairedGroups */
export function pairedValues(a: readonly Student[], b: readonly Student[], metric: string): number[][] {
  return a.map((student) => {
    const other = b.find(({ fields }) => fields.seed === student.fields.seed);
    const own = student.perPrompt[metric];
    const theirs = other?.perPrompt[metric];
    if (!own || own.length !== theirs?.length || student.promptSet !== other!.promptSet)
      throw new Error(
        `${student.name}: nothing to pair its ${metric} with; both need the same seeds and prompts`,
      );
    return own.map((value, i) => value - theirs[i]!);
  });
}

/** The same for values[seed][prompt] that are at hand. */
export function bootstrapTwoStage(
  values: readonly (readonly number[])[],
  resamples: number,
  name: string,
): Difference {
  const prompts = values[0]!.length;
  const rng = stream(0, 'two-stage bootstrap', name);
  const means = Array.from({ length: resamples }, () => {
    const seeds = values.map(() => values[integer(rng, values.length)]!);
    let sum = 0;
    for (let i = 0; i < prompts; i++) {
      const prompt = integer(rng, prompts);
      for (const seed of seeds) sum += seed[prompt]!;
    }
    return sum / (prompts * seeds.length);
  }).sort((x, y) => x - y);
  const at = (share: number): number => means[Math.round(share * (resamples - 1))]!;
  return { mean: summarize(values.flat()).mean, low: at(0.025), high: at(0.975) };
}
