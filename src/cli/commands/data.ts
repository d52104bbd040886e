import { Command } from 'commander';
import {
  type CommonOptions,
  logger,
  nonNegativeInteger,
  positiveInteger,
  withCommonOptions,
} from '../common.js';

interface BuildOptions extends CommonOptions {
  out: string;
  seed: number;
  size: number;
  valid: number;
  test: number;
}

/** `minillm data build wordnet`: the embedded instruction set. */
export function dataCommand(): Command {
  const wordnet = withCommonOptions(new Command('wordnet'))
    .description('instruction set made from WordNet: train, valid and test JSONL, corpus.txt and a data card')
    .requiredOption('--out <dir>', 'directory to write into')
    .option('--seed <s>', 'seed of every choice', nonNegativeInteger, 1)
    .option('--size <n>', 'training rows', positiveInteger, 30_000)
    .option('--valid <n>', 'validation rows', positiveInteger, 1000)
    .option('--test <n>', 'test rows', positiveInteger, 500)
    .addHelpText('after', '\nExample:\n  minillm data build wordnet --out data/wordnet --seed 1')
    .action(async (options: BuildOptions) => {
      const log = logger(options);
      const { buildWordnet } = await import('../../data/wordnet-build.js');
      const { rows } = buildWordnet({
        out: options.out,
        seed: options.seed,
        sizes: { train: options.size, valid: options.valid, test: options.test },
      });
      log(
        `${options.out}: ${rows.train.length} train, ${rows.valid.length} valid, ${rows.test.length} test rows, corpus.txt and README.md`,
      );
    });
  const build = new Command('build').description('build a data set').addCommand(wordnet);
  return new Command('data').description('build data sets').addCommand(build);
}
