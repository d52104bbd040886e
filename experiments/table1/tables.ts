/**
 * The tables and figures of table1 from its measured students: `node experiments/table1/tables.ts OUT`.
 *
 * Writes OUT/table.csv, rare.csv, differences.csv, tune.csv, tables.md, rouge.svg, reverse-kl.svg.
 *
 * @throws Error when the learning rates in steps-sweep.yaml are not those that the tuning found best
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { displayName } from '../../src/report/runs.js';
import { differencesCsv, groupsCsv, groupsIn, groupsMarkdown, minillmMinus } from '../comparison.js';
import { dotPanels } from '../figures.js';
import { overRuns, readMeasurement } from '../students.js';
import { checkRates, tuned } from './rates.js';

const out = process.argv[2] ?? 'runs/experiments/table1';
/** Those whose sweep has ended. */
const sizes = ['tiny', 'small', 'large'].filter((size) => existsSync(join(out, size, 'sweep.json')));
const metrics = [
  ...['rouge_l_sampled', 'rouge_l_greedy', 'reverse_kl_token', 'reverse_kl_seq'],
  ...['lm_loss', 'ece', 'sample_diversity', 'length'],
];
const rareMetrics = ['rouge_l_sampled', 'rouge_l_greedy', 'length'];

const { best, table: rates } = tuned(out);
checkRates(best, fileURLToPath(new URL('steps-sweep.yaml', import.meta.url)));
const groups = sizes.flatMap((size) => groupsIn(join(out, size), size));
const rare = sizes.flatMap((size) =>
  groupsIn(join(out, size), size, (name) => join(out, 'second', size, name)),
);
const teacher = readMeasurement(join(out, 'teacher-test')).metrics;
const rareTeacher = readMeasurement(join(out, 'second', 'teacher')).metrics;
const tables = `## Test split

${groupsMarkdown(groups, metrics, teacher)}

## Second split: rarer words, other wordings

${groupsMarkdown(rare, rareMetrics, rareTeacher)}
`;
const dots = (metric: string) =>
  groups.map(({ size, method, students }) => ({
    ...{ row: displayName(method), panel: size, ...overRuns(students, metric) },
  }));
const files = {
  'tune.csv': rates,
  'table.csv': groupsCsv(groups, metrics),
  'rare.csv': groupsCsv(rare, rareMetrics),
  'differences.csv': differencesCsv({ test: minillmMinus(groups), rare: minillmMinus(rare) }),
  'tables.md': tables,
  'rouge.svg': dotPanels(dots('rouge_l_sampled'), {
    title: 'Rouge-L of samples',
    axis: 'Rouge-L, more is better',
    highlight: 'MiniLLM',
    reference: { value: teacher.rouge_l_sampled!.mean, label: 'teacher' },
  }),
  'reverse-kl.svg': dotPanels(dots('reverse_kl_token'), {
    title: 'Reverse KL to the teacher',
    axis: 'nats per token, less is better',
    highlight: 'MiniLLM',
  }),
};
for (const [name, text] of Object.entries(files)) writeFileSync(join(out, name), text);
process.stdout.write(tables);
