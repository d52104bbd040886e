/** Tables of methods: as CSV, as Markdown, and MiniLLM minus each of the others. */
import { csv } from '../src/report/escape.js';
import { displayName } from '../src/report/runs.js';
import {
  bySeeds,
  type Difference,
  overRuns,
  pairedGroups,
  readSweepStudents,
  type Student,
} from './students.js';

/** The runs of one method on one student size, which differ in the training seed. */
export interface Group {
  size: string;
  method: string;
  students: Student[];
}

/** Digits after the point where three are too many. */
const decimals: Record<string, number> = {
  ...{ rouge_l_sampled: 2, rouge_l_greedy: 2, length: 2, reverse_kl_seq: 2 },
};
/** What is subtracted pair by pair, where it was measured. */
const paired = ['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_token', 'reverse_kl_seq', 'lm_loss'];

/** The methods of a sweep over methods and seeds. @param place as in readSweepStudents */
export function groupsIn(directory: string, size: string, place?: (name: string) => string): Group[] {
  return [...bySeeds(readSweepStudents(directory, place))].map(([method, students]) => ({
    size,
    method,
    students,
  }));
}

/** A number as the result files hold it. */
export const round = (x: number | null): number | null => (x === null ? null : Number(x.toPrecision(6)));

/** Over training seeds. */
export const mean = (students: readonly Student[], read: (student: Student) => number): number =>
  students.reduce((sum, student) => sum + read(student), 0) / students.length;

/** Means and standard errors over training seeds, a line a method. */
export function groupsCsv(groups: readonly Group[], metrics: readonly string[]): string {
  return csv(
    [
      'size',
      'method',
      'seeds',
      'steps',
      'train_seconds',
      ...metrics.flatMap((name) => [name, `${name}_stderr`]),
    ],
    groups.map(({ size, method, students }) => [
      ...[size, method, students.length, Math.round(mean(students, ({ steps }) => steps))],
      Number(mean(students, ({ trainSeconds }) => trainSeconds).toFixed(1)),
      ...metrics.flatMap((name) => {
        const { mean: value, stderr } = overRuns(students, name);
        return [round(value), round(stderr)];
      }),
    ]),
  );
}

/** The same as a page shows it, the teacher above. */
export function groupsMarkdown(
  groups: readonly Group[],
  metrics: readonly string[],
  teacher: Readonly<Record<string, { mean: number } | undefined>>,
): string {
  const show = (name: string, x: number): string => x.toFixed(decimals[name] ?? 3);
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const ofTeacher = metrics.map((name) => (teacher[name] ? show(name, teacher[name].mean) : ''));
  return [
    row(['size', 'method', ...metrics, 'steps', 'seconds']),
    row(['---', '---', ...metrics.map(() => '--:'), '--:', '--:']),
    row(['', 'Teacher', ...ofTeacher, '', '']),
    ...groups.map(({ size, method, students }) =>
      row([
        ...[size, displayName(method)],
        ...metrics.map((name) => {
          const { mean: value, stderr } = overRuns(students, name);
          return `${show(name, value)} ±${show(name, stderr ?? 0)}`;
        }),
        mean(students, ({ steps }) => steps).toFixed(0),
        mean(students, ({ trainSeconds }) => trainSeconds).toFixed(1),
      ]),
    ),
  ].join('\n');
}

export interface NamedDifference extends Difference {
  size: string;
  method: string;
  metric: string;
}

/** MiniLLM minus every other method of the same size, for the metrics that all were measured with. */
export function minillmMinus(groups: readonly Group[]): NamedDifference[] {
  const measured = paired.filter((name) => groups.every(({ students }) => students[0]!.perPrompt[name]));
  return groups
    .filter(({ method }) => method !== 'minillm')
    .flatMap(({ size, method, students }) => {
      const own = groups.find((group) => group.size === size && group.method === 'minillm')!;
      return measured.map((metric) => ({
        size,
        method,
        metric,
        ...pairedGroups(own.students, students, metric),
      }));
    });
}

/** @param labels one for each list, the first column */
export function differencesCsv(lists: Readonly<Record<string, readonly NamedDifference[]>>): string {
  return csv(
    ['split', 'size', 'minillm minus', 'metric', 'mean', 'low', 'high'],
    Object.entries(lists).flatMap(([split, list]) =>
      list.map(({ size, method, metric, mean: value, low, high }) => [
        ...[split, size, method, metric, round(value), round(low), round(high)],
      ]),
    ),
  );
}
