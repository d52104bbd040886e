import { join } from 'node:path';
import { Command, Option } from 'commander';
import { type TemplateName, templateNames } from '../../text/template.js';
import { type CommonOptions, logger, positiveInteger, print, withCommonOptions } from '../common.js';

interface TrainOptions extends CommonOptions {
  input: string[];
  vocabSize: number;
  out: string;
  template?: TemplateName;
}

/** `minillm tokenizer train`: a byte-level BPE of our own. */
export function tokenizerCommand(): Command {
  const train = withCommonOptions(new Command('train'))
    .description('train a byte-level BPE tokenizer on text or JSONL files')
    .requiredOption(
      '--input <file...>',
      'text files, and JSONL or JSON rows whose string fields are all used',
    )
    .requiredOption('--vocab-size <n>', 'tokens, the 256 bytes and <|endoftext|> included', positiveInteger)
    .requiredOption('--out <dir>', 'directory to write tokenizer.json and tokenizer_config.json into')
    .addOption(
      new Option(
        '--template <name>',
        'use rows as prompts in this template with their output instead',
      ).choices(templateNames),
    )
    .addHelpText(
      'after',
      '\nExample:\n  minillm tokenizer train --input data/wordnet/train.jsonl data/wordnet/corpus.txt --template plain --vocab-size 2048 --out tokenizer',
    )
    .action(async (options: TrainOptions) => {
      const log = logger(options);
      const { existsSync } = await import('node:fs');
      if (existsSync(join(options.out, 'tokenizer.json')))
        log(`note: ${options.out} holds a tokenizer; it is replaced`);
      const [{ trainTokenizer }, { saveTokenizer }] = await Promise.all([
        import('../../data/train-tokenizer.js'),
        import('../../text/tokenizer-files.js'),
      ]);
      const bpe = await trainTokenizer(options.input, options.vocabSize, options.template);
      saveTokenizer(options.out, bpe);
      if (bpe.vocab.length < options.vocabSize)
        log(
          `the text is used up: ${bpe.vocab.length} tokens instead of ${options.vocabSize}; give more text or a smaller --vocab-size`,
        );
      print(`${options.out}: ${bpe.vocab.length} tokens, ${bpe.merges.length} merges`);
    });
  return new Command('tokenizer').description('train tokenizers').addCommand(train);
}
