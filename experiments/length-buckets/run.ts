/**
 * length-buckets: Rouge-L by the length of the reference, from the measurements of table1:
 * `node experiments/length-buckets/run.ts OUT TABLE1`. Writes OUT/buckets.csv, differences.csv and buckets.svg.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asObject, readJsonl } from '../../src/data/jsonl.js';
import { summarize } from '../../src/evaluation/metrics/statistics.js';
import { csv } from '../../src/report/escape.js';
import { displayName } from '../../src/report/runs.js';
import { dotPanels } from '../figures.js';
import { testRows } from '../measureAgain.js';
import { bootstrapTwoStage, bySeeds, readSweepStudents, type Student } from '../students.js';

const [out, table1] = process.argv.slice(2) as [string, string];
mkdirSync(out, { recursive: true });
/** Words of the reference; the paper cuts at 5 and 10 tokens of a larger vocabulary. */
const buckets: { label: string; holds: (words: number) => boolean }[] = [
  { label: '1-2 words', holds: (n) => n <= 2 },
  { label: '3-5 words', holds: (n) => n > 2 && n <= 5 },
  { label: '6-10 words', holds: (n) => n > 5 && n <= 10 },
  { label: '11 and more', holds: (n) => n > 10 },
];
const words: number[] = [];
for await (const { value } of readJsonl(await testRows()))
  words.push(String(asObject(value, 'test row').output).split(/\s+/).length);
const groups = [...bySeeds(readSweepStudents(join(table1, 'small')))];
const metric = 'rouge_l_sampled';

/** Rouge-L of the prompts of a bucket. */
function inBucket({ perPrompt, name }: Student, holds: (n: number) => boolean): number[] {
  const values = perPrompt[metric]!;
  if (values.length !== words.length)
    throw new Error(`${name}: ${values.length} prompts measured, ${words.length} in the test part`);
  return values.filter((_, i) => holds(words[i]!));
}

const rows = buckets.flatMap(({ label, holds }) =>
  groups.map(([method, students]) => {
    const values = students.map((student) => summarize(inBucket(student, holds)).mean);
    return { bucket: label, method, prompts: words.filter(holds).length, ...summarize(values) };
  }),
);
writeFileSync(
  join(out, 'buckets.csv'),
  csv(
    ['bucket', 'prompts', 'method', metric, 'stderr', 'runs'],
    rows.map(({ bucket, prompts, method, mean, stderr, n }) => [bucket, prompts, method, mean, stderr, n]),
  ),
);
const minillm = groups.find(([method]) => method === 'minillm')![1];
writeFileSync(
  join(out, 'differences.csv'),
  csv(
    ['bucket', 'minillm minus', 'mean', 'low', 'high'],
    buckets.flatMap(({ label, holds }) =>
      groups
        .filter(([method]) => method !== 'minillm')
        .map(([method, students]) => {
          const own = minillm.map((student) => inBucket(student, holds));
          const theirs = students.map((student) => inBucket(student, holds));
          const paired = own.map((values, s) => values.map((value, i) => value - theirs[s]![i]!));
          const { mean, low, high } = bootstrapTwoStage(paired, 1000, `${label} ${method}`);
          return [label, method, mean, low, high];
        }),
    ),
  ),
);
writeFileSync(
  join(out, 'buckets.svg'),
  dotPanels(
    rows.map(({ bucket, method, ...summary }) => ({ row: displayName(method), panel: bucket, ...summary })),
    { title: 'Rouge-L by the length of the reference', axis: 'Rouge-L of samples', highlight: 'MiniLLM' },
  ),
);
