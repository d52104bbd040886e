import { join } from 'node:path';
import { Command, Option } from 'commander';
import { type CommonOptions, logger, print, startBackend, withCommonOptions } from '../common.js';

/** `minillm export`: a model directory in another number format. */
export function exportCommand(): Command {
  const command = new Command('export')
    .description('write a model directory with its weights as f32, f16 or bf16 (Hugging Face layout)')
    .requiredOption('--model <dir>', 'Hugging Face model directory')
    .requiredOption('--out <dir>', 'directory to write')
    .addOption(new Option('--dtype <type>', 'number format').choices(['f32', 'f16', 'bf16']).default('f16'))
    .addHelpText(
      'after',
      '\nExample:\n  minillm export --model runs/teacher/best --out teacher --dtype f16\n',
    );
  return withCommonOptions(command).action(
    async (options: CommonOptions & { model: string; out: string; dtype: 'f32' | 'f16' | 'bf16' }) => {
      await startBackend(options, logger(options));
      const { existsSync } = await import('node:fs');
      if (existsSync(join(options.out, 'config.json')))
        logger(options)(`note: ${options.out} holds a model; it is replaced`);
      const { loadModel, saveModel } = await import('../../models/checkpoint.js');
      const model = await loadModel(options.model);
      await saveModel(options.out, model, { dtype: options.dtype, tokenizerFrom: options.model });
      print(`${options.out}: ${options.dtype}`);
    },
  );
}
