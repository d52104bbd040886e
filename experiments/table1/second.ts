/**
 * Measures the students of the sweeps on the second split: `node experiments/table1/second.ts OUT SIZE …`. Each gets a
 * directory of its own in OUT/second/SIZE; what is measured already is left alone.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runChildren } from '../../src/runs/childRuns.js';
import { readSweepStudents } from '../students.js';

const [out, ...sizes] = process.argv.slice(2) as [string, ...string[]];
const data = join(out, 'rare.jsonl');
const asked = sizes.flatMap((size) =>
  readRuns(size).map(({ name, directory }) => ({ label: name, model: join(directory, 'final'), size })),
);
const open = asked.filter(
  ({ label, size }) => !existsSync(join(out, 'second', size, label, 'evaluation.json')),
);
await runChildren(
  open.map(({ label, model, size }) => ({
    label,
    args: [
      ...['eval', '--model', model, '--data', data, '--template', 'plain', '--label', label],
      ...['--seeds', '10,20,30,40,50', '--metrics', 'rouge_l_sampled,rouge_l_greedy,length'],
      ...['--max-new-tokens', '40', '--max-prompt-tokens', '48', '--batch-size', '256', '--threads', '1'],
      ...['--run', join(out, 'second', size, label), '--no-cache', '--quiet'],
    ],
  })),
  2,
  () => {},
);
process.stderr.write(`second split: ${asked.length} students measured\n`);

function readRuns(size: string) {
  return readSweepStudents(join(out, size));
}
