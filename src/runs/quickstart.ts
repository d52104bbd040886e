import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ChildRun, runChildren } from './childRuns.js';
import { wordnetDirectory } from './wordnetCache.js';

export interface QuickstartOptions {
  out: string;
  /** Flags handed to every run (`--backend`, `--quiet`, ...). */
  flags: string[];
  cores: number;
  log: (line: string) => void;
}

/** The methods compared, all from the same SFT student and for equal optimizer steps. */
export const quickstartMethods = ['kd', 'babyllama', 'minillm'] as const;

const experiments = fileURLToPath(new URL('../../experiments/', import.meta.url));
export const shippedTeacher = join(experiments, 'wordnet', 'teacher');

/** What the embedded experiment trains and tests on. */
const wordnet = { train_rows: 30_000, valid_rows: 1_000, test_rows: 500, seed: 1 };

/**
 * The main job from nothing: data, SFT of a small student (phase 1), then from that student every method for equal
 * steps, then the same evaluation for all. Finished parts are found and not repeated; a half-finished run resumes.
 *
 * @returns the run directories, teacher first
 */
export async function quickstart(options: QuickstartOptions): Promise<string[]> {
  const { out, log } = options;
  const test = join(await wordnetDirectory(wordnet, log), 'test.jsonl');
  const student = join(out, 'sft', 'best');
  // Whatever has what it needs runs beside the rest: the teacher is judged while the student is still at school.
  await inParallel(
    [train('sft', {}, options), evaluation('teacher', shippedTeacher, test, options)],
    options,
  );
  await inParallel(
    [
      // The longest first: what is shorter fills the other core meanwhile.
      ...[...quickstartMethods].reverse().map((method) => train(method, { student }, options)),
      evaluation('sft', student, test, options),
    ],
    options,
  );
  await inParallel(
    // The last student, not the best: Rouge-L of a few hundred samples picks between steps 100 and 200 at random, and
    // only the last ones have taken equal steps.
    quickstartMethods.map((method) => evaluation(method, join(out, method, 'final'), test, options)),
    options,
  );
  return quickstartRuns(out);
}

/** Its run directories, teacher first. */
export const quickstartRuns = (out: string): string[] =>
  ['teacher', 'sft', ...quickstartMethods].map((name) => join(out, name));

/** A run, and the file whose presence says that it is done. */
interface Part extends ChildRun {
  result: string;
}

async function inParallel(parts: readonly Part[], { cores, log }: QuickstartOptions): Promise<void> {
  const open: Part[] = [];
  for (const part of parts) {
    if (await exists(part.result)) log(`${part.label.padEnd(10)} done already`);
    else open.push(part);
  }
  await runChildren(open, cores, log);
}

function train(method: string, set: Record<string, string>, { out, flags }: QuickstartOptions): Part {
  const sets = Object.entries(set).flatMap(([field, value]) => [
    '--set',
    `${field}=${JSON.stringify(value)}`,
  ]);
  const config = join(experiments, 'quickstart', `${method}.yaml`);
  const directory = join(out, method);
  return {
    label: method,
    args: ['train', config, '--out', directory, '--resume', '--json', ...sets, ...flags],
    result: join(directory, 'final', 'config.json'),
  };
}

function evaluation(name: string, model: string, data: string, { out, flags }: QuickstartOptions): Part {
  const directory = join(out, name);
  return {
    label: name,
    args: [
      ...['eval', '--model', model, '--teacher', shippedTeacher, '--data', data, '--template', 'plain'],
      ...['--seeds', '10,20', '--max-new-tokens', '40', '--batch-size', '250', '--threads', '1'],
      // One place for all: the teacher's samples are the same for every student.
      ...['--run', directory, '--label', name, '--cache', join(out, 'generations'), ...flags],
    ],
    result: join(directory, 'evaluation.json'),
  };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
