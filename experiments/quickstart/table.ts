/**
 * The tables of a finished quickstart as Markdown: `node experiments/quickstart/table.ts OUT` writes OUT/table.md from OUT/run. README.md
 * shows them as they are.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { comparisonRows, pairedRows } from '../../src/runs/comparisonTable.js';
import { quickstartRuns } from '../../src/runs/quickstart.js';
import { markdownTable } from '../bench/markdown.js';

const markdown = ([head, ...rows]: readonly string[][]): string => markdownTable(head!, rows);

const out = process.argv[2]!;
const runs = quickstartRuns(join(out, 'run'));
const [student, ...others] = runs.slice(1).reverse();
writeFileSync(
  join(out, 'table.md'),
  `${markdown(await comparisonRows(runs))}\n${markdown(await pairedRows(student!, others))}`,
);
