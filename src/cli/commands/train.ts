import { basename, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import {
  type CommonOptions,
  logger,
  print,
  repeated,
  startConfigured,
  withCommonOptions,
} from '../common.js';
import { interruptible } from '../interrupt.js';
import { type RankOptions, ranks, withRankOptions } from '../ranks.js';

interface TrainOptions extends CommonOptions, RankOptions {
  set: string[];
  resume?: boolean;
  changedInputs?: boolean;
  keep: 'all' | 'final';
  out?: string;
  json?: boolean;
}

export function trainCommand(): Command {
  const command = new Command('train')
    .description(
      'train a student: minillm, opd, sft, kd, reverse-kd, seqkd, babyllama, gkd, imitkd, distillm',
    )
    .argument('<config>', 'YAML configuration (docs/configuration.md)')
    .option('--set <field=value>', 'change a field of the configuration; repeatable', repeated, [])
    .option('--resume', 'go on from the newest checkpoint in --out')
    .option('--changed-inputs', 'with --resume: although data or models were replaced since the run began')
    .addOption(
      new Option(
        '--keep <what>',
        'final: at the end remove the checkpoints, after which --resume is not possible',
      )
        .choices(['all', 'final'])
        .default('all'),
    )
    .option('--out <dir>', 'run directory (default: runs/<name of the configuration>)')
    .option('--json', 'print the summary as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  minillm train experiments/smoke/minillm.yaml --set train.lr=5e-4 --out runs/smoke\n\nkd, reverse-kd and babyllama can train without their teacher in memory: minillm cache-teacher --help\n',
    );
  return withCommonOptions(withRankOptions(command)).action(async (file: string, options: TrainOptions) => {
    const log = logger(options);
    const { readTrainConfig } = await import('../../runs/runConfig.js');
    const config = await readTrainConfig(file, options.set);
    const out = resolve(options.out ?? `runs/${basename(file).replace(/\.ya?ml$/, '')}`);
    const { backendBefore } = await import('../../runs/environment.js');
    const prefer = options.resume ? await backendBefore(out) : undefined;
    const backend = await startConfigured({ ...config, prefer }, options, log);
    const { runTraining } = await import('../../runs/train.js');
    const { stopping, release } = interruptible(log);
    const summary = await runTraining(config, out, {
      resume: options.resume ?? false,
      changedInputs: options.changedInputs ?? false,
      backend,
      log,
      keep: options.keep,
      quiet: options.quiet ?? false,
      stopping,
      cluster: ranks(),
    }).finally(release);
    if (ranks().rank > 0) return; // the summary is in the directory that rank 0 keeps
    const { writeReport } = await import('../../report/report.js');
    const report = writeReport([out], join(out, 'report.html')).out;
    if (options.json) print(JSON.stringify({ ...summary, report }));
    else {
      const best = summary.best
        ? `; best ${summary.best.metric} ${summary.best.value.toFixed(3)} at step ${summary.best.step}`
        : '';
      for (const line of summary.notes) print(`note: ${line}`);
      print(
        `${summary.steps} steps in ${summary.train_seconds} s${best}; student in ${summary.final}; report in ${report}`,
      );
    }
  });
}
