/**
 * What the sweeps do not measure: `node experiments/table1/measure.ts OUT SIZE …`. The teacher on the test split (OUT/teacher-test), and
 * on the second split the teacher and the students of the sweeps OUT/SIZE (OUT/second/SIZE, each in a directory of its own).
 */
import { join } from 'node:path';
import { measureAgain } from '../measureAgain.js';
import { readSweepStudents } from '../students.js';

const [out, ...sizes] = process.argv.slice(2) as [string, ...string[]];
const teacher = [{ name: 'Teacher', directory: join(out, 'teacher', 'best') }];
await measureAgain(teacher, {
  place: () => join(out, 'teacher-test'),
  metrics: [
    ...[
      'rouge_l_sampled',
      'rouge_l_greedy',
      'exact_match',
      'lm_loss',
      'ece',
      'answer_accuracy',
      'answer_ece',
    ],
    ...['sample_diversity', 'distinct_4', 'length', 'ended', 'empty', 'repetition'],
  ].join(),
});
const second = { data: join(out, 'rare.jsonl'), metrics: 'rouge_l_sampled,rouge_l_greedy,length' };
await measureAgain(teacher, { ...second, place: () => join(out, 'second', 'teacher') });
for (const size of sizes) {
  const place = (name: string): string => join(out, 'second', size, name);
  await measureAgain(readSweepStudents(join(out, size)), { ...second, place });
}
