import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Command } from 'commander';
import { RunError } from '../../errors.js';
import {
  type CommonOptions,
  logger,
  positiveInteger,
  print,
  repeated,
  withCommonOptions,
} from '../common.js';
import { interruptible } from '../interrupt.js';

interface SweepCommandOptions extends CommonOptions {
  out?: string;
  parallel?: number;
  launcher?: string;
  set: string[];
  json?: boolean;
}

/** `minillm sweep SWEEP.yaml`: a grid of training runs, one table, one report. */
export function sweepCommand(): Command {
  const command = new Command('sweep')
    .description(
      'train a grid of methods, seeds and any fields, each run in a process of its own; one table, one report',
    )
    .argument('<sweep>', 'YAML: base, grid, budget, evaluate (docs/sweep.md)')
    .option(
      '--out <dir>',
      'where everything goes; a second call goes on where the first stopped (default: runs/<name of the sweep>)',
    )
    .option(
      '--parallel <n>',
      'runs at a time (default: `parallel` of the file, else one for every core, at most 4; 1 with a budget of seconds)',
      positiveInteger,
    )
    .option(
      '--launcher <command>',
      'a command that starts each run, as "srun -n1 --exclusive": it gets ours as its last arguments; --parallel is then the number in flight',
    )
    .option(
      '--set <field=value>',
      'a field of every run, stronger than the file; may be given several times',
      repeated,
      [],
    )
    .option('--json', 'print the results as JSON')
    .addHelpText('after', '\nExample:\n  minillm sweep experiments/methods/sweep.yaml --out runs/methods\n');
  return withCommonOptions(command).action(async (file: string, options: SweepCommandOptions) => {
    const log = logger(options);
    const { readSweep } = await import('../../runs/sweepConfig.js');
    const { runSweep } = await import('../../runs/sweep.js');
    const { sweepResults } = await import('../../runs/sweepResults.js');
    const { sweepCsv, sweepTable } = await import('../../runs/sweepTable.js');
    const { writeFileAtomic } = await import('../../runs/atomic.js');
    const { checkLauncher, launcherWords } = await import('../../runs/launcher.js');
    const launcher = options.launcher === undefined ? undefined : launcherWords(options.launcher);
    if (launcher) checkLauncher(launcher);
    const sweep = await readSweep(file, options.set);
    const out = resolve(options.out ?? `runs/${basename(file).replace(/\.ya?ml$/, '')}`);
    const cores = sweep.budget.kind === 'seconds' ? 1 : Math.min(availableParallelism(), 4);
    const { stopping, release } = interruptible(log);
    const { runs, references } = await runSweep(sweep, {
      out,
      flags: [
        ...(options.backend ? ['--backend', options.backend] : []),
        ...(options.threads ? ['--threads', String(options.threads)] : []),
        ...(options.debug ? ['--debug'] : []),
      ],
      parallel: options.parallel ?? sweep.parallel ?? cores,
      launcher,
      quiet: options.quiet ?? false,
      log,
      stopping,
    }).finally(release);
    const results = sweepResults(sweep, runs, references);
    const { writeReport } = await import('../../report/report.js');
    const begun = results.runs.filter((row) => row.steps > 0 || row.status === 'done');
    const compared = results.references.filter((row) => row.status === 'done');
    const report =
      begun.length > 0
        ? writeReport(
            [...compared, ...begun].map((row) => row.directory),
            join(out, 'report.html'),
          ).out
        : null;
    const json = `${JSON.stringify({ out, ...results, report }, null, 2)}\n`;
    await writeFileAtomic(join(out, 'sweep.json'), json);
    await writeFileAtomic(join(out, 'sweep.csv'), sweepCsv(results));
    await writeFileAtomic(join(out, 'sweep.txt'), `${sweepTable(results)}\n`);
    if (options.json) print(JSON.stringify({ out, ...results, report }));
    else print(`${sweepTable(results)}\n\nreport in ${report}`);
    const all = [...results.references, ...results.runs];
    const failed = all.filter((row) => row.status === 'failed');
    if (failed.length > 0) {
      throw new RunError(
        `${failed.length} of ${all.length} runs failed (${failed.map((row) => row.name).join(', ')}); logs in ${join(out, 'logs')}; the same command tries them again`,
        1,
      );
    }
  });
}
