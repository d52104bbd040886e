import { join } from 'node:path';
import { Command, Option } from 'commander';
import { UsageError } from '../../errors.js';
import {
  type AdapterOption,
  type CommonOptions,
  logger,
  print,
  startBackend,
  withAdapterOption,
  withCommonOptions,
} from '../common.js';

interface ExportOptions extends CommonOptions, AdapterOption {
  model: string;
  out: string;
  dtype: 'f32' | 'f16' | 'bf16';
  merge?: boolean;
}

/** `minillm export`: a model directory in another number format. */
export function exportCommand(): Command {
  const command = new Command('export')
    .description('write a model directory with its weights as f32, f16 or bf16 (Hugging Face layout)')
    .requiredOption('--model <dir>', 'Hugging Face model directory')
    .requiredOption('--out <dir>', 'directory to write')
    .addOption(new Option('--dtype <type>', 'number format').choices(['f32', 'f16', 'bf16']).default('f16'))
    .option('--merge', 'of an adapter: a plain model, the adapter added to its base')
    .addHelpText(
      'after',
      '\nExample:\n  minillm export --model runs/teacher/best --out teacher --dtype f16\n  minillm export --model runs/lora/best --merge --out merged --dtype bf16\n',
    );
  withAdapterOption(command);
  return withCommonOptions(command).action(async (options: ExportOptions) => {
    await startBackend(options, logger(options));
    const { existsSync } = await import('node:fs');
    if (existsSync(join(options.out, 'config.json')))
      logger(options)(`note: ${options.out} holds a model; it is replaced`);
    const { loadModel, saveModel } = await import('../../models/checkpoint.js');
    const { mergeAdapter } = await import('../../models/lora.js');
    const { tokenizerDirectory } = await import('../../models/adapter.js');
    const loaded = await loadModel(options.model, { adapter: options.adapter });
    if (options.merge && !loaded.base)
      throw new UsageError(`--merge: ${options.model} has no adapter; give one with --adapter DIR`);
    const model = options.merge ? mergeAdapter(loaded) : loaded;
    const tokenizerFrom = await tokenizerDirectory(options.model);
    await saveModel(options.out, model, { dtype: options.dtype, tokenizerFrom });
    print(`${options.out}: ${options.dtype}${options.merge ? ', merged' : model.base ? ', adapter' : ''}`);
  });
}
