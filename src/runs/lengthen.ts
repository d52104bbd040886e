import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { UsageError } from '../errors.js';
import { type TrainConfig, trainConfigSchema } from '../training/config.js';
import { isDue, learningRateOf } from '../training/loop.js';
import { writeFileAtomic } from './atomic.js';
import { checkpointSteps } from './checkpoint.js';
import { readMetrics } from './metricsLog.js';
import { stringifyConfig } from './runConfig.js';
import { runPaths } from './runDirectory.js';
import { parseUntrustedYaml } from './yaml.js';

/** Fields that no step reads: they say when a run ends, and what of it is kept. */
const free = [
  'train.max_seconds',
  'train.max_teacher_tokens',
  'eval.patience',
  'checkpoint.every',
  'checkpoint.keep',
];

/**
 * Lets a resumed run go on with another configuration where the steps that are done would have been the same with it, such as
 * one that is longer, and writes the new one down.
 *
 * @throws UsageError naming the field that would have changed them
 */
export async function acceptChanges(
  out: string,
  config: TrainConfig,
  log: (line: string) => void,
): Promise<void> {
  const paths = runPaths(out);
  const before = await configOf(paths.config);
  if (!before) return;
  if (stringifyConfig(before) === stringifyConfig(config)) {
    // That of an older version may lack a field that is at its default.
    await writeFileAtomic(paths.config, stringifyConfig(config));
    return;
  }
  const done = (await checkpointSteps(out)).at(-1) ?? 0;
  const changed = differences(before, config);
  for (const { field, was, is } of changed) {
    const why = objection(field, before, config, done);
    if (why !== undefined)
      throw new UsageError(
        `${out}: was made with another configuration (${field}: ${was} there, ${is} here${why}); use the same one, or another --out`,
      );
  }
  for (const { field, was, is } of changed) log(`note: ${field} was ${was} and is ${is} from here on`);
  const last = readMetrics(paths.metrics).findLast(({ phase }) => phase === 'valid')?.step;
  if (done > 0 && done < config.train.steps && last === done && !isDue(done, config.eval.every))
    log(
      `note: step ${done} was validated because it was the last; a run begun with ${config.train.steps} steps would not have that validation`,
    );
  if (done < config.train.steps && existsSync(paths.evaluation))
    log(`note: evaluation.json is about step ${done}; evaluate again when the run has ended`);
  await writeFileAtomic(paths.config, stringifyConfig(config));
}

/** Why a changed field cannot be; undefined where the steps that are done stay what they are. */
function objection(field: string, before: TrainConfig, now: TrainConfig, done: number): string | undefined {
  if (free.includes(field)) return undefined;
  const steps = Array.from({ length: done }, (_, i) => i);
  if (field === 'eval.every') {
    const moved = steps.some((i) => isDue(i + 1, before.eval.every) !== isDue(i + 1, now.eval.every));
    return moved ? `, which would have validated the ${done} steps that are done elsewhere` : undefined;
  }
  if (field !== 'train.steps') return '';
  if (now.train.steps < done) return `, and ${done} steps are done`;
  const [was, is] = [learningRateOf(before), learningRateOf(now)];
  if (steps.some((i) => was(i) !== is(i)))
    return `, and train.schedule ${now.train.schedule} would have given the ${done} steps that are done other learning rates; only constant can be lengthened`;
  const decays = now.method === 'imitkd' && ![0, 1].includes(now.imitkd.gold_decay);
  if (done > 0 && decays)
    return ', and imitkd.gold_decay follows the share of the steps that are done: they would have been others';
  if (done > 0 && now.method === 'distillm')
    return ', and distillm takes fewer fresh samples towards the last step: the steps that are done would have been others';
  return undefined;
}

interface Difference {
  field: string;
  was: string;
  is: string;
}

function differences(before: unknown, now: unknown, path: readonly string[] = []): Difference[] {
  const isTree = (x: unknown): x is Record<string, unknown> =>
    typeof x === 'object' && x !== null && !Array.isArray(x);
  if (isTree(before) && isTree(now))
    return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((key) =>
      differences(before[key], now[key], [...path, key]),
    );
  const shown = (x: unknown): string => (x === undefined ? 'nothing' : JSON.stringify(x));
  return shown(before) === shown(now) ? [] : [{ field: path.join('.'), was: shown(before), is: shown(now) }];
}

/** The configuration of a run that is there; whoever opens the directory says what is wrong with one that is none. */
async function configOf(file: string): Promise<TrainConfig | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return trainConfigSchema.parse(parseUntrustedYaml(text));
  } catch {
    return undefined;
  }
}
