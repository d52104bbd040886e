/**
 * diversity: what the students lose of it, from the measurements of table1: `node experiments/diversity/run.ts OUT TABLE1`.
 * Writes OUT/diversity.csv and diversity.svg.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { displayName } from '../../src/report/runs.js';
import { groupsIn } from '../comparison.js';
import { dotPanels } from '../figures.js';
import { meansAndErrors, overRuns, readMeasurement } from '../students.js';

const [out, table1] = process.argv.slice(2) as [string, string];
mkdirSync(out, { recursive: true });
const metrics = ['distinct_4', 'sample_diversity', 'lm_loss'];
/** Those whose sweep has ended. */
const sizes = ['tiny', 'small', 'large'].filter((size) => existsSync(join(table1, size, 'sweep.json')));
const teacher = readMeasurement(join(table1, 'teacher-test')).metrics;
const groups = sizes.flatMap((size) => groupsIn(join(table1, size), size));
const cells = groups.map(({ size, method, students }) => [
  ...[size, method],
  ...meansAndErrors(students, metrics),
]);
writeFileSync(
  join(out, 'diversity.csv'),
  csv(
    ['size', 'method', ...metrics.flatMap((name) => [name, 'stderr'])],
    [['', 'teacher', ...metrics.flatMap((name) => [teacher[name]!.mean, teacher[name]!.stderr])], ...cells],
  ),
);
writeFileSync(
  join(out, 'diversity.svg'),
  dotPanels(
    groups.map(({ size, method, students }) => ({
      ...{ row: displayName(method), panel: size, ...overRuns(students, 'sample_diversity') },
    })),
    {
      title: 'How different the samples of one prompt are',
      axis: '1 − mean Rouge-L between samples',
      highlight: 'MiniLLM',
      reference: { value: teacher.sample_diversity!.mean, label: 'teacher' },
    },
  ),
);
