/**
 * length-buckets: Rouge-L by the length of the reference, from the measurements of table1 and ablation:
 * `node experiments/length-buckets/run.ts OUT TABLE1 ABLATION`. Writes OUT/buckets.csv, differences.csv and buckets.svg.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asObject, readJsonl } from '../../src/data/jsonl.js';
import { summarize } from '../../src/evaluation/metrics/statistics.js';
import { csv } from '../../src/report/escape.js';
import { displayName } from '../../src/report/runs.js';
import { dotPanels } from '../figures.js';
import { testRows } from '../measureAgain.js';
import { bootstrapTwoStage, bySeeds, pairedValues, readSweepStudents, type Student } from '../students.js';

const [out, table1, ablation] = process.argv.slice(2) as [string, string, string];
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
const bare = bySeeds(readSweepStudents(ablation)).get('no-pretraining')!;
const groups: [method: string, Student[]][] = [
  ...bySeeds(readSweepStudents(join(table1, 'small'))),
  ['MiniLLM, no LM loss', bare],
];
const metric = 'rouge_l_sampled';

/** Students as if they had been measured on the prompts of a bucket alone. */
function inBucket(students: readonly Student[], holds: (n: number) => boolean): Student[] {
  return students.map((student) => {
    const values = student.perPrompt[metric]!;
    if (values.length !== words.length)
      throw new Error(`${student.name}: ${values.length} prompts measured, ${words.length} in the test part`);
    return { ...student, perPrompt: { [metric]: values.filter((_, i) => holds(words[i]!)) } };
  });
}

const rows = buckets.flatMap(({ label, holds }) =>
  groups.map(([method, students]) => {
    const values = inBucket(students, holds).map(({ perPrompt }) => summarize(perPrompt[metric]!).mean);
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
// As in the paper's figure, against SFT: what the methods share in a bucket, its difficulty, is gone.
const sft = groups.find(([method]) => method === 'sft')![1];
const against = buckets.flatMap(({ label, holds }) =>
  groups
    .filter(([method]) => method !== 'sft')
    .map(([method, students]) => {
      const paired = pairedValues(inBucket(students, holds), inBucket(sft, holds), metric);
      const { mean, low, high } = bootstrapTwoStage(paired, 1000, `${label} ${method}`);
      return {
        bucket: label,
        method,
        mean,
        stderr: null,
        n: paired.length,
        interval: [low, high] as [number, number],
      };
    }),
);
writeFileSync(
  join(out, 'differences.csv'),
  csv(
    ['bucket', 'method', 'minus sft', 'low', 'high'],
    against.map(({ bucket, method, mean, interval }) => [bucket, method, mean, ...interval]),
  ),
);
writeFileSync(
  join(out, 'buckets.svg'),
  dotPanels(
    against.map(({ bucket, method, ...summary }) => ({
      row: displayName(method),
      panel: bucket,
      ...summary,
    })),
    {
      title: 'Rouge-L against SFT, by the length of the reference',
      axis: 'Rouge-L of samples minus that of SFT; 95 % bootstrap',
      highlight: 'MiniLLM',
      reference: { value: 0, label: '' },
    },
  ),
);
