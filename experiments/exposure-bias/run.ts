/**
 * exposure-bias: how much faster errors gather on a student's own words than on the teacher's.
 *
 *     node experiments/exposure-bias/run.ts OUT TABLE1
 *
 * Measures the students of TABLE1/small with `ex_acc_err` (their samples are taken from its cache) and writes OUT/curves.csv,
 * exposure.csv, exposure.svg.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csv } from '../../src/report/escape.js';
import { standaloneSvg } from '../../src/report/figure.js';
import { exposurePanel } from '../exposureCurves.js';
import { measureAgain } from '../measureAgain.js';
import { bySeeds, meansAndErrors, readSweepStudents } from '../students.js';

const [out, table1] = process.argv.slice(2) as [string, string];
mkdirSync(out, { recursive: true });
/** Beyond it fewer than a tenth of the teacher's samples are left. */
const LONGEST = 20;

const place = (name: string): string => join(out, 'students', name);
await measureAgain(readSweepStudents(join(table1, 'small')), {
  place,
  teacher: join(table1, 'teacher', 'best'),
  cache: join(table1, 'small', 'generations'),
  seeds: '10,20,30',
  metrics: 'ex_acc_err,forward_kl_token,reverse_kl_token',
});
const groups = [...bySeeds(readSweepStudents(join(table1, 'small'), place))];
const shown = new Map(
  ['sft', 'kd', 'seqkd', 'minillm', 'gkd', 'reverse-kd'].map((name, i) => [
    name,
    name === 'minillm' ? 1 : 2 + i,
  ]),
);
const figure = exposurePanel(groups, { longest: LONGEST, shown });
writeFileSync(join(out, 'curves.csv'), figure.csv);
writeFileSync(join(out, 'exposure.svg'), standaloneSvg(figure.svg));
const rows = groups.map(([method, students]) => [
  method,
  ...meansAndErrors(students, ['ex_acc_err', 'forward_kl_token', 'reverse_kl_token']),
]);
const head = ['method', 'ex_acc_err', 'stderr', 'forward_kl_token', 'stderr', 'reverse_kl_token', 'stderr'];
writeFileSync(join(out, 'exposure.csv'), csv(head, rows));
