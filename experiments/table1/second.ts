/**
 * Measures the students of the sweeps on the second split: `node experiments/table1/second.ts OUT SIZE …`. Each gets a
 * directory of its own in OUT/second/SIZE.
 */
import { join } from 'node:path';
import { measureAgain } from '../measureAgain.js';
import { readSweepStudents } from '../students.js';

const [out, ...sizes] = process.argv.slice(2) as [string, ...string[]];
for (const size of sizes) {
  await measureAgain(readSweepStudents(join(out, size)), {
    place: (name) => join(out, 'second', size, name),
    data: join(out, 'rare.jsonl'),
    metrics: 'rouge_l_sampled,rouge_l_greedy,length',
  });
}
