import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { isUrl } from '../training/config.js';
import { writeFileAtomic } from './atomic.js';
import { runPaths } from './runDirectory.js';
import type { Sweep, SweepRun } from './sweepConfig.js';
import { wordnetDirectory } from './wordnetCache.js';

/*
 * The measurement of a sweep's students. What each was measured with is kept beside its configuration: other settings in the
 * next call mean that it is measured again, not that an old number stands under a new heading.
 */

type Settings = NonNullable<Sweep['evaluate']>;

/** Whether the run has been measured with these settings. */
export async function isEvaluated(
  run: SweepRun,
  directory: string,
  settings: Settings,
  out: string,
): Promise<boolean> {
  if (!existsSync(runPaths(directory).evaluation)) return false;
  const found = await readFile(recordOf(run, out), 'utf8').catch(() => '');
  return found === stringify(settings);
}

/** Takes away a measurement with other settings. In this order: a measurement that is there is the one that is recorded. */
export async function beginEvaluation(
  run: SweepRun,
  directory: string,
  settings: Settings,
  out: string,
): Promise<void> {
  await rm(runPaths(directory).evaluation, { force: true });
  await writeFileAtomic(recordOf(run, out), stringify(settings));
}

/** The command that measures one run's student. */
export async function evaluationArguments(
  { name, config }: SweepRun,
  directory: string,
  settings: Settings,
  { out, flags, log }: { out: string; flags: readonly string[]; log: (line: string) => void },
): Promise<string[]> {
  const { data, model, seeds, teacher_seeds, metrics, max_new_tokens, batch_size } = settings;
  const first = [config.teacher ?? []].flat()[0];
  // The divergences of `eval` need a teacher on this machine.
  const teacher = typeof first === 'string' && !isUrl(first) ? first : undefined;
  const file = data === 'test' ? join(await wordnetDirectory(config.data.wordnet!, log), 'test.jsonl') : data;
  return [
    ...['eval', '--model', runPaths(directory)[model], '--data', file, '--template', config.data.template],
    ...(teacher ? ['--teacher', teacher] : []),
    ...(metrics ? ['--metrics', metrics.join(',')] : []),
    ...(teacher_seeds ? ['--teacher-seeds', String(teacher_seeds)] : []),
    ...['--seeds', seeds.join(','), '--batch-size', String(batch_size), '--threads', String(config.threads)],
    ...['--max-new-tokens', String(max_new_tokens ?? config.rollout.max_new_tokens)],
    ...['--max-prompt-tokens', String(config.data.max_prompt_tokens)],
    ...['--run', directory, '--label', name, '--cache', join(out, 'generations'), ...flags],
  ];
}

function recordOf(run: SweepRun, out: string): string {
  return join(out, 'configs', `${run.name}.evaluation.yaml`);
}
