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
  const data = await wordnetDirectory(wordnet, log);
  const sft = join(out, 'sft');
  await trainAll(['sft'], {}, options);
  await trainAll(quickstartMethods, { student: join(sft, 'best') }, options);
  const models = { teacher: shippedTeacher, sft: join(sft, 'best') } as Record<string, string>;
  for (const method of quickstartMethods) models[method] = join(out, method, 'best');
  await evaluateAll(models, join(data, 'test.jsonl'), options);
  return Object.keys(models).map((name) => join(out, name));
}

async function trainAll(
  methods: readonly string[],
  set: Record<string, string>,
  options: QuickstartOptions,
): Promise<void> {
  const { out, flags, cores, log } = options;
  const runs: ChildRun[] = [];
  for (const method of methods) {
    if (await exists(join(out, method, 'final', 'config.json'))) {
      log(`${method}: trained already`);
      continue;
    }
    const sets = Object.entries(set).flatMap(([field, value]) => [
      '--set',
      `${field}=${JSON.stringify(value)}`,
    ]);
    const config = join(experiments, 'quickstart', `${method}.yaml`);
    runs.push({
      label: method,
      args: ['train', config, '--out', join(out, method), '--resume', '--json', ...sets, ...flags],
    });
  }
  await runChildren(runs, cores, log);
}

async function evaluateAll(
  models: Record<string, string>,
  data: string,
  options: QuickstartOptions,
): Promise<void> {
  const { out, flags, cores, log } = options;
  const runs: ChildRun[] = [];
  for (const [name, model] of Object.entries(models)) {
    const directory = join(out, name);
    if (await exists(join(directory, 'evaluation.json'))) {
      log(`${name}: evaluated already`);
      continue;
    }
    runs.push({
      label: name,
      args: [
        ...['eval', '--model', model, '--teacher', shippedTeacher, '--data', data, '--template', 'plain'],
        ...['--seeds', '10,20,30', '--max-new-tokens', '40', '--run', directory, '--label', name, ...flags],
        ...(cores > 1 ? ['--threads', '1'] : []),
      ],
    });
  }
  await runChildren(runs, cores, log);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
