import { Command } from 'commander';
import {
  type CommonOptions,
  nonNegativeInteger,
  positiveInteger,
  print,
  withCommonOptions,
} from '../common.js';

const FORCE = 'overwrite files in --out that this command did not make';

interface BuildOptions extends CommonOptions {
  out: string;
  seed: number;
  size: number;
  valid: number;
  test: number;
  force?: boolean;
}

/** `minillm data build`: the embedded instruction set, or splits of one that the user has. */
export function dataCommand(): Command {
  const wordnet = withCommonOptions(new Command('wordnet'))
    .description('instruction set made from WordNet: train, valid and test JSONL, corpus.txt and a data card')
    .requiredOption('--out <dir>', 'directory to write into')
    .option('--seed <s>', 'seed of every choice', nonNegativeInteger, 1)
    .option('--size <n>', 'training rows', positiveInteger, 30_000)
    .option('--valid <n>', 'validation rows', positiveInteger, 1000)
    .option('--test <n>', 'test rows', positiveInteger, 500)
    .option('--force', FORCE)
    .addHelpText('after', '\nExample:\n  minillm data build wordnet --out data/wordnet --seed 1')
    .action(async (options: BuildOptions) => {
      const { buildWordnet } = await import('../../data/wordnet-build.js');
      const { rows } = buildWordnet({
        out: options.out,
        seed: options.seed,
        sizes: { train: options.size, valid: options.valid, test: options.test },
        ...(options.force && { force: true }),
      });
      print(
        `${options.out}: ${rows.train.length} train, ${rows.valid.length} valid, ${rows.test.length} test rows, corpus.txt and README.md`,
      );
    });
  const build = new Command('build')
    .description('build a data set')
    .addCommand(wordnet)
    .addCommand(dollyCommand());
  return new Command('data').description('build data sets').addCommand(build);
}

interface DollyCommandOptions extends CommonOptions {
  input: string;
  out: string;
  seed: number;
  valid: number;
  test: number;
  exclude: string[];
  force?: boolean;
}

function dollyCommand(): Command {
  return withCommonOptions(new Command('dolly'))
    .description('train, valid and test JSONL from an instruction file, all rows of a prompt in one split')
    .requiredOption(
      '--input <file>',
      'databricks-dolly-15k.jsonl, or another JSONL or JSON file of instructions',
    )
    .requiredOption('--out <dir>', 'directory to write into')
    .option('--seed <s>', 'seed of the split', nonNegativeInteger, 1)
    .option('--valid <n>', 'validation rows', positiveInteger, 1000)
    .option('--test <n>', 'test rows; 0 with a test set of your own', nonNegativeInteger, 500)
    .option(
      '--exclude <file...>',
      'JSONL or JSON whose prompts must be in no split, such as a published test set',
      [],
    )
    .option('--force', FORCE)
    .addHelpText(
      'after',
      '\nExample:\n  minillm data build dolly --input databricks-dolly-15k.jsonl --out data/dolly',
    )
    .action(async (options: DollyCommandOptions) => {
      const { buildDolly } = await import('../../data/dolly.js');
      const { input, out, seed, valid, test, exclude, force } = options;
      const { rows, excluded, empty } = await buildDolly({
        input,
        out,
        seed,
        sizes: { valid, test },
        exclude,
        ...(force && { force }),
      });
      const left = [
        excluded > 0 ? `${excluded} rows of excluded prompts` : '',
        empty > 0 ? `${empty} rows without a response` : '',
      ].filter(Boolean);
      print(
        `${out}: ${rows.train} train, ${rows.valid} valid, ${rows.test} test rows and README.md${left.length > 0 ? `; left out: ${left.join(', ')}` : ''}`,
      );
    });
}
