import { basename } from 'node:path';
import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import {
  type CommonOptions,
  integerList,
  logger,
  positiveInteger,
  print,
  startBackend,
  withCommonOptions,
} from '../common.js';

interface EvalOptions extends CommonOptions {
  model: string;
  teacher?: string;
  data: string;
  metrics?: string;
  seeds: number[];
  maxNewTokens: number;
  maxPromptTokens: number;
  batchSize: number;
  template: string;
  run?: string;
  label?: string;
}

export function evalCommand(): Command {
  const command = new Command('eval')
    .description('measure a model on instruction data: JSON of metrics with mean, standard error and n')
    .requiredOption('--model <dir>', 'Hugging Face model directory')
    .requiredOption('--data <file>', 'JSONL or JSON with instruction, input, output')
    .option('--teacher <dir>', 'teacher, for the KL metrics')
    .option('--metrics <list>', 'comma-separated (default: all that can be computed)')
    .option('--seeds <list>', 'seeds of the samples', integerList, [10, 20, 30, 40, 50])
    .option('--max-new-tokens <n>', 'longest response', positiveInteger, 256)
    .option('--max-prompt-tokens <n>', 'longer prompts are left out, and counted', positiveInteger, 256)
    .option('--batch-size <b>', 'responses decoded together', positiveInteger, 64)
    .option('--template <name>', 'how instruction and input become a prompt', 'alpaca')
    .option('--run <dir>', 'also write evaluation.json and samples/eval.jsonl into this run directory')
    .option('--label <name>', 'what the report calls this model (default: the name of --run)')
    .addHelpText(
      'after',
      '\nExample:\n  minillm eval --model runs/smoke/final --teacher experiments/wordnet/teacher --data test.jsonl --template plain --seeds 10,20\n',
    );
  return withCommonOptions(command).action(async (options: EvalOptions) => {
    const log = logger(options);
    const { evaluate } = await import('../../evaluation/evaluate.js');
    const { metricNames, needsTeacher } = await import('../../evaluation/evaluationMetrics.js');
    const { promptFormats } = await import('../../text/template.js');
    const template = oneOf(options.template, promptFormats, '--template');
    const metrics = options.metrics
      ? options.metrics.split(',').map((name) => oneOf(name, metricNames, '--metrics'))
      : options.teacher
        ? metricNames
        : metricNames.filter((name) => !needsTeacher(name));
    await startBackend(options, log);
    const { loadModel } = await import('../../models/checkpoint.js');
    const { loadTokenizer, tokenizerIfPresent } = await import('../../text/tokenizer.js');
    const { endTokens } = await import('../../runs/materials.js');
    const { loadExamples } = await import('../../data/examples.js');
    const tokenizer = await loadTokenizer(options.model);
    const model = await loadModel(options.model);
    const teacher = options.teacher ? await loadModel(options.teacher) : undefined;
    const teacherTokenizer = options.teacher ? await tokenizerIfPresent(options.teacher) : undefined;
    if (teacherTokenizer) {
      const { assertSameTokenizer } = await import('../../runs/materials.js');
      assertSameTokenizer([options.model, tokenizer], [options.teacher!, teacherTokenizer]);
    }
    const context = Math.min(
      model.config.maxPositions,
      teacher?.config.maxPositions ?? Number.POSITIVE_INFINITY,
    );
    const { examples, dropped } = await loadExamples(options.data, tokenizer, {
      template,
      maxPromptTokens: Math.min(options.maxPromptTokens, context - 1),
      maxTokens: context,
    });
    log(`${examples.length} prompts${dropped > 0 ? `, ${dropped} over the token limits left out` : ''}`);
    const result = evaluate(model, teacher, tokenizer, examples, {
      metrics,
      seeds: options.seeds,
      maxNewTokens: options.maxNewTokens,
      batchSize: options.batchSize,
      eosIds: endTokens(model, tokenizer),
      onProgress: (what, done, total) => log(`${what}: ${done}/${total}`),
    });
    if (options.run) {
      const { writeEvaluation } = await import('../../runs/evaluationFiles.js');
      await writeEvaluation(options.run, options.label ?? basename(options.run), result, examples, tokenizer);
    }
    print(
      JSON.stringify(
        { prompts: examples.length, dropped, seeds: options.seeds, metrics: result.metrics },
        null,
        2,
      ),
    );
  });
}

function oneOf<T extends string>(name: string, names: readonly T[], flag: string): T {
  if ((names as readonly string[]).includes(name)) return name as T;
  throw new UsageError(`${flag} ${name}: expected one of ${names.join(', ')}`);
}
