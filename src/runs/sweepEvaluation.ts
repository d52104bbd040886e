import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { TrainConfig } from '../training/config.js';
import { isUrl } from '../training/configParts.js';
import { writeFileAtomic } from './atomic.js';
import { runPaths } from './runDirectory.js';
import type { Sweep, SweepRun } from './sweepConfig.js';
import { wordnetDirectory } from './wordnetCache.js';

/*
 * The measurement of a sweep's models. What each was measured with is kept beside its configuration: other settings in the
 * next call mean that it is measured again, not that an old number stands under a new heading.
 */

type Settings = NonNullable<Sweep['evaluate']>;

/** A model to be measured: the student of a run, or one that the students are compared with. */
export interface Measured {
  /** Unique in the sweep: what its files in configs/ and logs/ are called. */
  name: string;
  /** What the report calls it. */
  label: string;
  model: string;
  /** Where the measurement goes. */
  directory: string;
  /** Whose data and limits it is measured with. */
  config: TrainConfig;
  /** What it was measured with, as it is kept. */
  record: string;
}

export function measuredRun({ name, config }: SweepRun, directory: string, settings: Settings): Measured {
  const model = runPaths(directory)[settings.model];
  return { name, label: name, model, directory, config, record: stringify(settings) };
}

/**
 * What the students of a sweep are compared with, measured as they are: their teachers, and the students that they began as.
 * A teacher behind a server cannot be measured, and a student drawn at random has learned nothing yet.
 */
export function referencesOf(runs: readonly SweepRun[], sweep: Sweep, out: string): Measured[] {
  const settings = sweep.evaluate;
  if (!settings) return [];
  const drawn = join(out, 'student');
  const students = (config: TrainConfig): string | undefined =>
    typeof config.student === 'string' && config.student !== drawn ? config.student : undefined;
  return (
    [
      ['teacher', localTeacher],
      ['start', students],
    ] as const
  ).flatMap(([what, modelOf]) => {
    const models = [...new Set(runs.flatMap(({ config }) => modelOf(config) ?? []))];
    return models.map((model, i) => {
      const label = models.length > 1 ? `${what}-${i + 1}` : what;
      const { config } = runs.find((run) => modelOf(run.config) === model)!;
      const directory = join(out, 'references', label);
      const record = stringify({ ...settings, model });
      return { name: `reference_${label}`, label, model, directory, config, record };
    });
  });
}

/** Whether the model has been measured with these settings. */
export async function isEvaluated(measured: Measured, out: string): Promise<boolean> {
  if (!existsSync(runPaths(measured.directory).evaluation)) return false;
  const found = await readFile(recordOf(measured, out), 'utf8').catch(() => '');
  return found === measured.record;
}

/** Takes away a measurement with other settings. In this order: a measurement that is there is the one that is recorded. */
export async function beginEvaluation(measured: Measured, out: string): Promise<void> {
  await rm(runPaths(measured.directory).evaluation, { force: true });
  await writeFileAtomic(recordOf(measured, out), measured.record);
}

/** The command that measures one model. */
export async function evaluationArguments(
  { label, model, directory, config }: Measured,
  settings: Settings,
  { out, flags, log }: { out: string; flags: readonly string[]; log: (line: string) => void },
): Promise<string[]> {
  const { data, seeds, teacher_seeds, metrics, max_new_tokens, batch_size } = settings;
  const { template, template_args, date, bos } = config.data;
  const teacher = localTeacher(config);
  const file = data === 'test' ? join(await wordnetDirectory(config.data.wordnet!, log), 'test.jsonl') : data;
  return [
    ...['eval', '--model', model, '--data', file, '--template', template],
    ...(Object.keys(template_args).length > 0 ? ['--template-args', JSON.stringify(template_args)] : []),
    ...(date ? ['--date', date] : []),
    ...(bos ? [] : ['--no-bos']),
    ...(teacher ? ['--teacher', teacher] : []),
    ...(metrics ? ['--metrics', metrics.join(',')] : []),
    ...(teacher_seeds ? ['--teacher-seeds', String(teacher_seeds)] : []),
    ...['--seeds', seeds.join(','), '--batch-size', String(batch_size), '--threads', String(config.threads)],
    ...['--max-new-tokens', String(max_new_tokens ?? config.rollout.max_new_tokens)],
    ...['--max-prompt-tokens', String(config.data.max_prompt_tokens)],
    ...['--run', directory, '--label', label, '--cache', join(out, 'generations'), ...flags],
  ];
}

/** The divergences of `eval` need a teacher on this machine. */
function localTeacher({ teacher }: TrainConfig): string | undefined {
  const first = [teacher ?? []].flat()[0];
  return typeof first === 'string' && !isUrl(first) ? first : undefined;
}

function recordOf({ name }: Measured, out: string): string {
  return join(out, 'configs', `${name}.evaluation.yaml`);
}
