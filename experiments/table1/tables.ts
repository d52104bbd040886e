/**
 * The tables and figures of table1 from its measured students: `node experiments/table1/tables.ts OUT`.
 *
 * Writes OUT/table.csv, rare.csv, seconds.csv, differences.csv, tune.csv, tables.md, rouge.svg, reverse-kl.svg.
 *
 * @throws Error when the learning rates in steps-sweep.yaml and seconds-sweep.yaml are not those that the tuning found best
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { displayName } from '../../src/report/runs.js';
import { dotPanels } from '../figures.js';
import {
  bySeeds,
  overRuns,
  pairedGroups,
  readMeasurement,
  readSweepStudents,
  type Student,
} from '../students.js';
import { checkRates, tuned } from './rates.js';

const out = process.argv[2] ?? 'runs/experiments/table1';
const sizes = ['tiny', 'small', 'large'];
const metrics = [
  'rouge_l_sampled',
  'rouge_l_greedy',
  'reverse_kl_token',
  'reverse_kl_seq',
  'lm_loss',
  'ece',
  'sample_diversity',
  'length',
];
const decimals: Record<string, number> = {
  rouge_l_sampled: 2,
  rouge_l_greedy: 2,
  length: 2,
  reverse_kl_seq: 2,
};

interface Group {
  size: string;
  method: string;
  students: Student[];
}

const groupsIn = (directory: string, size: string, place?: (name: string) => string): Group[] =>
  [...bySeeds(readSweepStudents(directory, place))].map(([method, students]) => ({ size, method, students }));

function table(groups: readonly Group[], names: readonly string[]): string {
  return csv(
    [
      'size',
      'method',
      'seeds',
      'steps',
      'train_seconds',
      ...names.flatMap((name) => [name, `${name}_stderr`]),
    ],
    groups.map(({ size, method, students }) => [
      ...[size, method, students.length, Math.round(overSteps(students)), meanSeconds(students)],
      ...names.flatMap((name) => {
        const { mean, stderr } = overRuns(students, name);
        return [round(mean), round(stderr)];
      }),
    ]),
  );
}

const overSteps = (students: readonly Student[]): number =>
  students.reduce((sum, { steps }) => sum + steps, 0) / students.length;
const meanSeconds = (students: readonly Student[]): number =>
  Math.round((10 * students.reduce((sum, { trainSeconds }) => sum + trainSeconds, 0)) / students.length) / 10;
const round = (x: number | null): number | null => (x === null ? null : Number(x.toPrecision(6)));

/** MiniLLM minus every other method, paired. */
function differences(groups: readonly Group[], names: readonly string[], split: string) {
  return groups
    .filter(({ method }) => method !== 'minillm')
    .flatMap(({ size, method, students }) => {
      const own = groups.find((group) => group.size === size && group.method === 'minillm')!;
      return names.map((name) => ({
        split,
        size,
        method,
        name,
        ...pairedGroups(own.students, students, name),
      }));
    });
}

/** As a page shows it. */
function markdown(
  groups: readonly Group[],
  names: readonly string[],
  teacher?: Record<string, { mean: number }>,
): string {
  const show = (name: string, x: number): string => x.toFixed(decimals[name] ?? 3);
  const row = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  return [
    row(['size', 'method', ...names, 'steps', 'seconds']),
    row(['---', '---', ...names.map(() => '--:'), '--:', '--:']),
    ...(teacher
      ? [
          row([
            '',
            'Teacher',
            ...names.map((name) => (teacher[name] ? show(name, teacher[name].mean) : '')),
            '',
            '',
          ]),
        ]
      : []),
    ...groups.map(({ size, method, students }) =>
      row([
        ...[size, displayName(method)],
        ...names.map((name) => {
          const { mean, stderr } = overRuns(students, name);
          return `${show(name, mean)} ±${show(name, stderr ?? 0)}`;
        }),
        ...[String(Math.round(overSteps(students))), String(meanSeconds(students))],
      ]),
    ),
  ].join('\n');
}

const { best, table: rates } = tuned(out);
writeFileSync(join(out, 'tune.csv'), rates);
for (const file of ['steps-sweep.yaml', 'seconds-sweep.yaml']) checkRates(best, file);
const groups = sizes.flatMap((size) => groupsIn(join(out, size), size));
const rare = sizes.flatMap((size) =>
  groupsIn(join(out, size), size, (name) => join(out, 'second', size, name)),
);
const timed = groupsIn(join(out, 'seconds'), 'small');
const rareMetrics = ['rouge_l_sampled', 'rouge_l_greedy', 'length'];
const timedMetrics = metrics.filter((name) => timed[0]!.students[0]!.metrics[name]);
const paired = ['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_token', 'reverse_kl_seq', 'lm_loss'];
const all = [
  ...differences(groups, paired, 'test'),
  ...differences(rare, ['rouge_l_sampled', 'rouge_l_greedy'], 'rare'),
  ...differences(
    timed,
    paired.filter((name) => timedMetrics.includes(name)),
    'test, equal seconds',
  ),
];
writeFileSync(join(out, 'table.csv'), table(groups, metrics));
writeFileSync(join(out, 'rare.csv'), table(rare, rareMetrics));
writeFileSync(join(out, 'seconds.csv'), table(timed, timedMetrics));
writeFileSync(
  join(out, 'differences.csv'),
  csv(
    ['split', 'size', 'minillm minus', 'metric', 'mean', 'low', 'high'],
    all.map(({ split, size, method, name, mean, low, high }) => [
      split,
      size,
      method,
      name,
      round(mean),
      round(low),
      round(high),
    ]),
  ),
);
const teacher = readMeasurement(join(out, 'teacher-test')).metrics;
const rareTeacher = readMeasurement(join(out, 'second', 'teacher')).metrics;
const parts = [
  ['Equal steps, test split', markdown(groups, metrics, teacher)],
  ['Equal steps, rare split', markdown(rare, rareMetrics, rareTeacher)],
  ['Equal seconds, test split', markdown(timed, timedMetrics)],
];
writeFileSync(join(out, 'tables.md'), parts.map(([title, text]) => `## ${title}\n\n${text}\n`).join('\n'));
const dots = (metric: string) =>
  groups.map(({ size, method, students }) => ({
    row: displayName(method),
    panel: size,
    ...overRuns(students, metric),
  }));
const of = (metric: string) => {
  const value = teacher?.[metric]?.mean;
  return value ? { reference: { value, label: 'teacher' } } : {};
};
const shown = { highlight: 'MiniLLM' };
writeFileSync(
  join(out, 'rouge.svg'),
  dotPanels(dots('rouge_l_sampled'), {
    title: 'Rouge-L of samples',
    axis: 'Rouge-L, more is better',
    ...shown,
    ...of('rouge_l_sampled'),
  }),
);
writeFileSync(
  join(out, 'reverse-kl.svg'),
  dotPanels(dots('reverse_kl_token'), {
    title: 'Reverse KL to the teacher',
    axis: 'nats per token, less is better',
    ...shown,
  }),
);
process.stdout.write(readFileSync(join(out, 'tables.md'), 'utf8'));
