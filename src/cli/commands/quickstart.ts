import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { type CommonOptions, logger, print, withCommonOptions } from '../common.js';

export function quickstartCommand(): Command {
  const command = new Command('quickstart')
    .description(
      'the whole story on the embedded WordNet set: SFT, then KD, BabyLlama and MiniLLM, measured and reported',
    )
    .option(
      '--out <dir>',
      'where everything goes; a second call goes on where the first stopped',
      'runs/quickstart',
    )
    .addHelpText('after', '\nExample:\n  minillm quickstart --out runs/quickstart\n');
  return withCommonOptions(command).action(async (options: CommonOptions & { out: string }) => {
    const log = logger(options);
    const started = performance.now();
    const { ensureEngine } = await import('../../tensor/provision/setup.js');
    if (options.backend === undefined || options.backend === 'tensorflow') await ensureEngine({ say: log });
    const afterSetup = performance.now();
    const { initBackend } = await import('../../tensor/backend.js');
    // The runs are processes of their own; asking here once gives all of them the same backend, said aloud.
    const backend = await initBackend(options.backend ? { backend: options.backend } : {});
    log(`backend ${backend.name}: ${backend.engine}`);
    const out = resolve(options.out);
    const { quickstart } = await import('../../runs/quickstart.js');
    const runs = await quickstart({
      out,
      flags: ['--backend', backend.name, ...(options.debug ? ['--debug'] : [])],
      cores: Math.min(options.threads ?? availableParallelism(), 4),
      log,
    });
    const { comparisonTable, pairedTable } = await import('../../runs/comparisonTable.js');
    const { writeReport } = await import('../../report/report.js');
    const report = join(out, 'report.html');
    writeReport(runs, report);
    print(await comparisonTable(runs));
    const [student, ...others] = runs.slice(1).reverse();
    print(`\nOn the same prompts, with 95 % intervals over prompts:\n${await pairedTable(student!, others)}`);
    print(
      `\n${((performance.now() - afterSetup) / 60_000).toFixed(1)} minutes after ${((afterSetup - started) / 1000).toFixed(0)} s of set-up`,
    );
    print(`open ${report}`);
  });
}
