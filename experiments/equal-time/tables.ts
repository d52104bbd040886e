/**
 * The table of equal-time: `node experiments/equal-time/tables.ts OUT TABLE1` writes OUT/table.csv, differences.csv and rouge.svg.
 *
 * @throws Error when the learning rates in seconds-sweep.yaml are not those that table1's tuning found best
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { displayName } from '../../src/report/runs.js';
import { differencesCsv, groupsCsv, groupsIn, groupsMarkdown, minillmMinus } from '../comparison.js';
import { dotPanels } from '../figures.js';
import { overRuns, readMeasurement } from '../students.js';
import { checkRates, tuned } from '../table1/rates.js';

const [out, table1] = process.argv.slice(2) as [string, string];
const metrics = [
  ...['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_token', 'reverse_kl_seq', 'lm_loss', 'length'],
];
checkRates(tuned(table1).best, fileURLToPath(new URL('seconds-sweep.yaml', import.meta.url)));
const groups = groupsIn(out, 'small');
const teacher = readMeasurement(join(table1, 'teacher-test')).metrics;
writeFileSync(join(out, 'table.csv'), groupsCsv(groups, metrics));
writeFileSync(join(out, 'differences.csv'), differencesCsv({ 'test, equal seconds': minillmMinus(groups) }));
writeFileSync(
  join(out, 'rouge.svg'),
  dotPanels(
    groups.map(({ method, students }) => ({
      ...{ row: displayName(method), panel: '', ...overRuns(students, 'rouge_l_sampled') },
    })),
    {
      title: 'Rouge-L at equal seconds',
      axis: 'Rouge-L, more is better',
      highlight: 'MiniLLM',
      reference: { value: teacher.rouge_l_sampled!.mean, label: 'teacher' },
    },
  ),
);
process.stdout.write(`${groupsMarkdown(groups, metrics, teacher)}\n`);
