import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import {
  type CommonOptions,
  logger,
  positiveInteger,
  print,
  repeated,
  startConfigured,
  withCommonOptions,
} from '../common.js';
import { interruptible } from '../interrupt.js';

interface CacheTeacherOptions extends CommonOptions {
  set: string[];
  topK: number;
  dtype: 'f16' | 'f32';
  shardRows: number;
  out: string;
  json?: boolean;
}

export function cacheTeacherCommand(): Command {
  const command = new Command('cache-teacher')
    .description('ask the teacher once about all gold responses, so that training needs it no more')
    .argument('<config>', 'YAML configuration of the training, with its teacher')
    .requiredOption('--out <dir>', 'directory of the cache; one that is not finished is gone on with')
    .option('--top-k <k>', 'likeliest tokens that are kept of every distribution', positiveInteger, 50)
    .addOption(
      new Option('--dtype <type>', 'of their log-probabilities').choices(['f16', 'f32']).default('f16'),
    )
    .option('--shard-rows <n>', 'rows in a file, after which the work can be stopped', positiveInteger, 1000)
    .option('--set <field=value>', 'change a field of the configuration; repeatable', repeated, [])
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
kd, reverse-kd and babyllama train from it with teacher: { cache: DIR }. For minillm the plain text of the pretraining loss
is cached (pretrain.teacher_cache: DIR); its rollouts still need a teacher. What top-k changes: docs/teacher-cache.md.

Example:
  minillm cache-teacher experiments/quickstart/kd.yaml --set student=experiments/wordnet/student --out runs/cache
`,
    );
  return withCommonOptions(command).action(async (file: string, options: CacheTeacherOptions) => {
    const log = logger(options);
    const { readTrainConfig } = await import('../../runs/runConfig.js');
    const config = await readTrainConfig(file, options.set);
    const { engine } = await startConfigured(config, options, log);
    const { cacheTeacher } = await import('../../runs/cacheTeacher.js');
    const { stopping, release } = interruptible(log, 'stopping after this shard');
    const { topK, dtype, shardRows } = options;
    const summary = await cacheTeacher(config, resolve(options.out), {
      ...{ topK, dtype, shardRows, engine, log, stopping },
    }).finally(release);
    if (options.json) print(JSON.stringify(summary));
    else
      print(
        `${summary.rows} rows, ${summary.tokens} response tokens, ${summary.bytes_per_token} bytes each, in ${summary.out}`,
      );
  });
}
