/**
 * The table of babylm: `node experiments/babylm/tables.ts OUT TABLE1`. Writes OUT/babylm.csv, differences.csv and babylm.svg.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { dotPanels } from '../figures.js';
import {
  bySeeds,
  differenceCells,
  meansAndErrors,
  overRuns,
  readMeasurement,
  readSweepStudents,
  type Student,
} from '../students.js';

const [out, table1] = process.argv.slice(2) as [string, string];
const metrics = ['rouge_l_sampled', 'rouge_l_greedy', 'lm_loss', 'length'];
const alone = bySeeds(readSweepStudents(join(out, 'alone')));
const groups: [string, Student[]][] = [
  ['SFT', alone.get('sft')!],
  ['BabyLlama, LLaMA teacher', alone.get('babyllama')!],
  ['BabyLlama, both teachers', readSweepStudents(join(out, 'both'))],
];
const teachers = [
  ['teacher: LLaMA', readMeasurement(join(table1, 'teacher-test'))],
  ['teacher: GPT-2', readMeasurement(join(out, 'gpt2-test'))],
] as const;
writeFileSync(
  join(out, 'babylm.csv'),
  csv(
    ['student', 'seeds', ...metrics.flatMap((name) => [name, 'stderr'])],
    [
      ...teachers.map(([name, { metrics: found }]) => [
        ...[name, 1],
        ...metrics.flatMap((metric) => [found[metric]?.mean, found[metric]?.stderr]),
      ]),
      ...groups.map(([name, students]) => [...[name, students.length], ...meansAndErrors(students, metrics)]),
    ],
  ),
);
const [[, sft]] = groups as [[string, Student[]]];
writeFileSync(
  join(out, 'differences.csv'),
  csv(
    ['student minus SFT', 'metric', 'mean', 'low', 'high'],
    groups
      .slice(1)
      .flatMap(([name, students]) =>
        ['rouge_l_sampled', 'rouge_l_greedy', 'lm_loss'].map((metric) => [
          ...[name, metric],
          ...differenceCells(students, sft, metric),
        ]),
      ),
  ),
);
writeFileSync(
  join(out, 'babylm.svg'),
  dotPanels(
    groups.map(([row, students]) => ({ row, panel: '', ...overRuns(students, 'lm_loss') })),
    {
      title: 'LM loss of the students',
      axis: 'nats per token, less is better',
      highlight: 'BabyLlama, both teachers',
    },
  ),
);
