/**
 * Rouge-L of the tiny student against the size of its teacher: `node experiments/teacher-size/tables.ts OUT TABLE1`. Writes
 * OUT/teacher-size.csv, differences.csv and teacher-size.svg.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { displayName } from '../../src/report/runs.js';
import { dotPanels } from '../figures.js';
import { bySeeds, differenceCells, meansAndErrors, overRuns, readSweepStudents } from '../students.js';

const [out, table1] = process.argv.slice(2) as [string, string];
/** The teachers, smallest first: directory of the sweep, training run of the teacher. */
const teachers = [
  ['small', join(table1, 'students', 'small')],
  ['large', join(table1, 'students', 'large')],
  ['teacher', join(table1, 'teacher')],
] as const;

/** The lowest validation loss of the teacher's training, which its best/ has. */
function validationLoss(run: string): number {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  const losses = lines.map((line) => Number((JSON.parse(line) as Record<string, unknown>).valid_lm_loss));
  return Math.min(...losses.filter(Number.isFinite));
}

const groups = teachers.flatMap(([name, run]) =>
  [...bySeeds(readSweepStudents(join(out, name)))].map(([method, students]) => ({
    ...{ name, method, students, loss: validationLoss(run) },
  })),
);
const metrics = ['rouge_l_sampled', 'rouge_l_greedy', 'lm_loss', 'reverse_kl_token', 'length'];
writeFileSync(
  join(out, 'teacher-size.csv'),
  csv(
    ['teacher', 'teacher validation loss', 'method', 'seeds', ...metrics.flatMap((name) => [name, 'stderr'])],
    groups.map(({ name, loss, method, students }) => [
      ...[name, loss, method, students.length],
      ...meansAndErrors(students, metrics),
    ]),
  ),
);
const smallest = groups.filter(({ name }) => name === teachers[0][0]);
writeFileSync(
  join(out, 'differences.csv'),
  csv(
    ['method', 'teacher', `metric minus that with the ${teachers[0][0]} teacher`, 'mean', 'low', 'high'],
    groups
      .filter(({ name }) => name !== teachers[0][0])
      .flatMap(({ name, method, students }) => {
        const base = smallest.find((group) => group.method === method)!.students;
        const cells = (metric: string) => differenceCells(students, base, metric);
        return metrics.slice(0, 3).map((metric) => [method, name, metric, ...cells(metric)]);
      }),
  ),
);
writeFileSync(
  join(out, 'teacher-size.svg'),
  dotPanels(
    groups.map(({ name, method, students }) => ({
      ...{ row: displayName(method), panel: `teacher: ${name}`, ...overRuns(students, 'rouge_l_sampled') },
    })),
    {
      title: 'Rouge-L of the tiny student',
      axis: 'Rouge-L of samples, more is better',
      highlight: 'MiniLLM',
    },
  ),
);
