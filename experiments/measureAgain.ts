/** Measures the students of a sweep with metrics, or on data, that the sweep did not ask for. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runChildren } from '../src/runs/childRuns.js';
import { createProgress } from '../src/runs/progress.js';
import { wordnetDirectory } from '../src/runs/wordnetCache.js';
import type { Student } from './students.js';

export interface MeasureOptions {
  /** Where a student's evaluation.json goes; one that is there is not made again. */
  place: (name: string) => string;
  metrics: string;
  seeds?: string;
  /** Default: the test part that the students were measured on. */
  data?: string;
  teacher?: string;
  /** Of responses; without it none are kept. */
  cache?: string;
}

/** The test part of table1's data. */
export async function testRows(): Promise<string> {
  const sizes = { train_rows: 10_000, valid_rows: 1000, test_rows: 2000, seed: 1 };
  return join(await wordnetDirectory(sizes, () => {}), 'test.jsonl');
}

/** Each in a process of its own with one thread, two at a time. */
export async function measureAgain(
  students: readonly Pick<Student, 'name' | 'directory'>[],
  { place, metrics, seeds = '10,20,30,40,50', data, teacher, cache }: MeasureOptions,
): Promise<void> {
  const file = data ?? (await testRows());
  const open = students.filter(({ name }) => !existsSync(join(place(name), 'evaluation.json')));
  const progress = createProgress({
    label: 'measured',
    total: students.length,
    done: students.length - open.length,
    unit: 'student',
    quiet: false,
  });
  let done = students.length - open.length;
  const queue = open.values();
  const worker = async (): Promise<void> => {
    for (const { name, directory } of queue) {
      const model = existsSync(join(directory, 'final')) ? join(directory, 'final') : directory;
      const args = [
        ...['eval', '--model', model, '--data', file, '--template', 'plain', '--label', name],
        ...['--metrics', metrics, '--seeds', seeds, '--batch-size', '256', '--threads', '1'],
        ...['--max-new-tokens', '40', '--max-prompt-tokens', '48', '--run', place(name), '--quiet'],
        ...(teacher ? ['--teacher', teacher] : []),
        ...(cache ? ['--cache', cache] : ['--no-cache']),
      ];
      await runChildren([{ label: name, args }], 1, (line) => progress.note(line));
      progress.update(++done, {});
    }
  };
  await Promise.all([worker(), worker()]);
  progress.finish();
}
