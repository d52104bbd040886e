/**
 * The table and figures of the ablation from its measured students: `node experiments/ablation/tables.ts OUT TABLE1`. Writes
 * OUT/ablation.csv, differences.csv, against-table1.csv, rouge.svg, reverse-kl.svg, length.svg.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { readMetrics } from '../../src/runs/metricsLog.js';
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
const teacher = readMeasurement(join(table1, 'teacher-test')).metrics;
const groups = [...bySeeds(readSweepStudents(out))];
const full = groups.find(([variant]) => variant === 'full')![1];
const metrics = [
  ...['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_seq', 'reverse_kl_token', 'lm_loss'],
  ...['length', 'ended', 'empty', 'repetition', 'sample_diversity'],
];

/** Whether the run's own watch for reward hacking spoke (docs/evaluation.md). */
const looked = ({ directory }: Student): boolean =>
  readMetrics(join(directory, 'metrics.jsonl')).some(
    (row) => Array.isArray(row.drifted) && row.drifted.length > 0,
  );

writeFileSync(
  join(out, 'ablation.csv'),
  csv(
    ['variant', 'seeds', ...metrics.flatMap((name) => [name, 'stderr']), 'runs that drifted'],
    [
      ['teacher', 0, ...metrics.flatMap((name) => [teacher[name]?.mean, teacher[name]?.stderr]), null],
      ...groups.map(([variant, students]) => [
        ...[variant, students.length],
        ...meansAndErrors(students, metrics),
        students.filter(looked).length,
      ]),
    ],
  ),
);
const paired = [
  'rouge_l_sampled',
  'rouge_l_greedy',
  'reverse_kl_seq',
  'reverse_kl_token',
  'lm_loss',
  'length',
];
writeFileSync(
  join(out, 'differences.csv'),
  csv(
    ['variant minus full', 'metric', 'mean', 'low', 'high'],
    groups
      .filter(([variant]) => variant !== 'full')
      .flatMap(([variant, students]) =>
        paired.map((name) => [variant, name, ...differenceCells(students, full, name)]),
      ),
  ),
);
// Without the pretraining loss MiniLLM has the same terms as the methods that it is compared with.
const others = bySeeds(readSweepStudents(join(table1, 'small')));
const bare = groups.find(([variant]) => variant === 'no-pretraining')![1];
writeFileSync(
  join(out, 'against-table1.csv'),
  csv(
    ['no-pretraining minus', 'metric', 'mean', 'low', 'high'],
    [...others].flatMap(([method, students]) =>
      paired.slice(0, 5).map((name) => [method, name, ...differenceCells(bare, students, name)]),
    ),
  ),
);
const figures: [file: string, metric: string, title: string, axis: string][] = [
  ['rouge', 'rouge_l_sampled', 'Rouge-L of samples', 'more is better'],
  ['reverse-kl', 'reverse_kl_token', 'Reverse KL to the teacher', 'nats per token, less is better'],
  ['length', 'length', 'Length of a response', 'tokens'],
];
for (const [file, metric, title, axis] of figures) {
  const value = teacher[metric]?.mean;
  const dots = groups.map(([row, students]) => ({ row, panel: '', ...overRuns(students, metric) }));
  const reference = value ? { reference: { value, label: 'teacher' } } : {};
  writeFileSync(join(out, `${file}.svg`), dotPanels(dots, { title, axis, highlight: 'full', ...reference }));
}
