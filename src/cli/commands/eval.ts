import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import type { ModelDtype } from '../../models/dtypes.js';
import { promptFormats } from '../../text/template.js';
import {
  type AdapterOption,
  type CommonOptions,
  day,
  dtypeOption,
  integerList,
  jsonObject,
  logger,
  nonNegativeInteger,
  positiveInteger,
  print,
  startBackend,
  withAdapterOption,
  withCommonOptions,
} from '../common.js';
import { ranks, type ShardOptions, shardsOf, withShardOptions } from '../ranks.js';
import { FORBID_NGRAMS } from '../samplingOptions.js';

interface EvalOptions extends CommonOptions, AdapterOption, ShardOptions {
  model: string;
  dtype?: ModelDtype;
  teacher?: string;
  teacherDtype?: ModelDtype;
  data: string;
  metrics?: string;
  seeds: number[];
  teacherSeeds?: number;
  maxNewTokens: number;
  maxPromptTokens: number;
  batchSize: number;
  forbidNgrams: number;
  template: string;
  bos: boolean;
  templateArgs?: Record<string, unknown>;
  date?: string;
  run?: string;
  label?: string;
  /** A directory, or false for --no-cache. */
  cache?: string | false;
}

// The names alone: the metrics' modules are heavy. A test holds these to them.
const metricHelp = `Metrics (docs/evaluation.md):
  with references: rouge_l_sampled, rouge_l_greedy, exact_match, exact_match_sampled, lm_loss, ece
  with --teacher:  reverse_kl_seq, reverse_kl_token, forward_kl_seq, forward_kl_token, ex_acc_err, and the one-sample estimates
                   reverse_kl_k1, reverse_kl_k2, reverse_kl_k3, reverse_kl_k1_token, reverse_kl_k2_token, reverse_kl_k3_token,
                   forward_kl_k1, forward_kl_k2, forward_kl_k3, forward_kl_k1_token, forward_kl_k2_token, forward_kl_k3_token
  with choices:    answer_accuracy, answer_ece
  with two seeds:  sample_diversity
  always:          length, ended, empty, repetition, distinct_1, distinct_2, distinct_3, distinct_4`;

export function evalCommand(): Command {
  const command = new Command('eval')
    .description('measure a model on instruction data: JSON of metrics with mean, standard error and n')
    .requiredOption('--model <dir>', 'Hugging Face model directory')
    .requiredOption('--data <file>', 'JSONL or JSON with instruction, input, output')
    .option('--teacher <dir>', 'teacher, for the KL metrics')
    .addOption(dtypeOption('--dtype', "the model's"))
    .addOption(dtypeOption('--teacher-dtype', "the teacher's"))
    .option('--metrics <list>', 'comma-separated, of those below (default: all that can be computed)')
    .option('--seeds <list>', 'seeds of the samples', integerList, [10, 20, 30, 40, 50])
    .option(
      '--teacher-seeds <n>',
      'the metrics that need the teacher use the first so many seeds (default: all)',
      positiveInteger,
    )
    .option('--max-new-tokens <n>', 'longest response', positiveInteger, 256)
    .option('--max-prompt-tokens <n>', 'longer prompts are left out, and counted', positiveInteger, 256)
    .option('--batch-size <b>', 'responses decoded together', positiveInteger, 64)
    .option('--forbid-ngrams <n>', `${FORBID_NGRAMS}; the official MiniLLM code: 6`, nonNegativeInteger, 0)
    .option(
      '--template <name>',
      `how instruction and input become a prompt: ${promptFormats.join(', ')} (chat: the tokenizer's own)`,
      'alpaca',
    )
    .option(
      '--template-args <json>',
      'variables of the chat template, as {"enable_thinking":false}',
      jsonObject,
    )
    .option('--date <day>', 'the day that a chat template writes, YYYY-MM-DD (default: today)', day)
    .option('--no-bos', 'no beginning token in front of a prompt, as trained with data.bos: false')
    .option('--run <dir>', 'also write evaluation.json and samples/eval.jsonl into this run directory')
    .option(
      '--cache <dir>',
      'keep the responses here (default with --run: generations/ in the run directory)',
    )
    .option('--no-cache', 'keep no responses')
    .option('--label <name>', 'what the report calls this model (default: the name of --run)')
    .addHelpText(
      'after',
      `\n${metricHelp}\n\nExample:\n  minillm eval --model runs/smoke/final --teacher experiments/wordnet/teacher --data test.jsonl --template plain --seeds 10,20\n`,
    );
  withAdapterOption(command);
  return withCommonOptions(withShardOptions(command)).action(async (options: EvalOptions) => {
    const log = logger(options);
    const { evaluate } = await import('../../evaluation/evaluate.js');
    const { cannotCompute, metricNames } = await import('../../evaluation/evaluationMetrics.js');
    const template = oneOf(options.template, promptFormats, '--template');
    if (options.teacherDtype !== undefined && !options.teacher)
      throw new UsageError('--teacher-dtype: has no meaning without --teacher DIR');
    const asked = options.metrics?.split(',').map((name) => oneOf(name, metricNames, '--metrics'));
    const backend = await startBackend(options, log);
    const { loadModel } = await import('../../models/checkpoint.js');
    const { loadTokenizer, tokenizerIfPresent } = await import('../../text/tokenizer.js');
    const { withEndTokens } = await import('../../runs/endTokens.js');
    const { chatOptions } = await import('../chatOptions.js');
    const { loadExamples, saySpecials } = await import('../../data/examples.js');
    const { withoutBos } = await import('../../text/withoutBos.js');
    const { tokenizerDirectory } = await import('../../models/adapter.js');
    const own = await loadTokenizer(await tokenizerDirectory(options.model));
    const tokenizer = options.bos ? own : withoutBos(own);
    const ends = { directory: options.model, tokenizer };
    const model = withEndTokens(await loadModel(options.model, options), ends, log);
    const teacher = options.teacher
      ? await loadModel(options.teacher, { dtype: options.teacherDtype })
      : undefined;
    const teacherTokenizer = options.teacher
      ? await tokenizerIfPresent(await tokenizerDirectory(options.teacher))
      : undefined;
    if (teacherTokenizer) {
      const { assertSameTokenizer } = await import('../../runs/materials.js');
      assertSameTokenizer([options.model, tokenizer], [options.teacher!, teacherTokenizer]);
    }
    const { checkTokenizer } = await import('../../runs/materials.js');
    for (const one of teacher ? [model, teacher] : [model]) checkTokenizer(one.config, tokenizer);
    const context = Math.min(
      model.config.maxPositions,
      teacher?.config.maxPositions ?? Number.POSITIVE_INFINITY,
    );
    const loaded = await loadExamples(options.data, tokenizer, {
      template,
      maxPromptTokens: Math.min(options.maxPromptTokens, context - 1),
      maxTokens: context,
      outputs: 'optional',
      chat: chatOptions(template === 'chat' ? tokenizer : undefined, options, log),
    });
    const { examples, dropped } = loaded;
    const specials = saySpecials(loaded);
    if (specials) log(`note: ${specials}`);
    log(`${examples.length} prompts${dropped > 0 ? `, ${dropped} over the token limits left out` : ''}`);
    const given = { teacher: teacher !== undefined, examples, seeds: options.seeds.length };
    const metrics = asked ?? metricNames.filter((name) => !cannotCompute(name, given));
    for (const [problem, names] of leftOut(metricNames, (name) => cannotCompute(name, given))) {
      if (!asked)
        log(
          `${names.join(', ')}: not measured, ${names.length > 1 ? problem.replace(/^needs/, 'need') : problem}`,
        );
    }
    const { untrainedBest } = await import('../../runs/bestChoice.js');
    const { withoutWords, wordlessNote } = await import('../../evaluation/wordless.js');
    const wordless = metrics.some((name) => name.startsWith('rouge_l')) ? withoutWords(examples) : 0;
    const notes = [
      await untrainedBest(options.model),
      wordless > 0 ? wordlessNote(wordless, examples.length, 'rows') : undefined,
      options.forbidNgrams > 0
        ? `responses were decoded with repeated ${options.forbidNgrams}-grams forbidden: divergences are at the states of such responses`
        : undefined,
    ].filter((line) => line !== undefined);
    for (const line of notes) log(`note: ${line}`);
    const cache = options.cache ?? (options.run && join(options.run, 'generations'));
    const { responseProgress } = await import('../responseProgress.js');
    const progress = responseProgress(options.quiet);
    const { model: modelFile, teacher: teacherFile, data: dataFile } = options;
    const files = {
      '--model': modelFile,
      '--adapter': options.adapter,
      '--teacher': teacherFile,
      '--data': dataFile,
    };
    const shards = await shardsOf(options, backend.engine, files, log);
    const result = evaluate(model, teacher, tokenizer, examples, {
      metrics,
      seeds: options.seeds,
      ...(options.teacherSeeds && { teacherSeeds: options.teacherSeeds }),
      maxNewTokens: options.maxNewTokens,
      batchSize: options.batchSize,
      ...(options.forbidNgrams > 0 && { noRepeatNgram: options.forbidNgrams }),
      eosIds: model.config.eosIds,
      shards,
      ...(cache && ranks().rank === 0 && { store: await storeOf(cache, options, backend.engine, log) }),
      onProgress: progress.update,
    });
    progress.finish();
    if (ranks().rank > 0) return; // rank 0 has the whole of it and writes it down
    if (options.run) {
      const { writeEvaluation } = await import('../../runs/evaluationFiles.js');
      const { data, seeds, label = basename(options.run) } = options;
      const isTeacher = options.teacher !== undefined && resolve(options.teacher) === resolve(options.model);
      const { parameterCount } = await import('../../models/model.js');
      const parameters = parameterCount(model.config);
      const teacherParameters = teacher && parameterCount(teacher.config);
      const origin = { label, isTeacher, data, seeds, parameters, teacherParameters, notes };
      await writeEvaluation(options.run, origin, result, examples, tokenizer);
    }
    print(
      JSON.stringify(
        {
          ...{ prompts: examples.length, dropped, seeds: options.seeds },
          ...(wordless > 0 && { references_without_words: wordless }),
          ...(notes.length > 0 && { notes }),
          metrics: result.metrics,
        },
        null,
        2,
      ),
    );
    if (options.run) await renewReport(options.run, log);
  });
}

/** The page that a run ended with shows its evaluation. A page that cannot be written takes nothing from the numbers. */
async function renewReport(run: string, log: (line: string) => void): Promise<void> {
  const page = join(run, 'report.html');
  if (!existsSync(page)) return;
  const { writeReport } = await import('../../report/report.js');
  try {
    writeReport([run], page);
    log(`${page} shows the evaluation now`);
  } catch (error) {
    log(`note: ${page} is older than the evaluation: ${(error as Error).message}`);
  }
}

/** The metrics that cannot be computed, by the reason. */
function leftOut<T extends string>(
  names: readonly T[],
  problemOf: (name: T) => string | undefined,
): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const name of names) {
    const problem = problemOf(name);
    if (problem) groups.set(problem, [...(groups.get(problem) ?? []), name]);
  }
  return groups;
}

async function storeOf(
  directory: string,
  { model, dtype, adapter, teacher, teacherDtype }: EvalOptions,
  engine: string,
  log: (line: string) => void,
) {
  const { generationCache } = await import('../../runs/generationCache.js');
  const { sourceDigest } = await import('../../models/adapter.js');
  const kept = (dtype: ModelDtype = 'float32'): string => (dtype === 'float32' ? '' : ` as ${dtype}`);
  const digests = {
    model: (await sourceDigest(model, { adapter })) + kept(dtype),
    teacher: teacher && (await sourceDigest(teacher)) + kept(teacherDtype),
  };
  return generationCache(directory, { ...digests, engine, log });
}

function oneOf<T extends string>(name: string, names: readonly T[], flag: string): T {
  if ((names as readonly string[]).includes(name)) return name as T;
  throw new UsageError(`${flag} ${name}: expected one of ${names.join(', ')}`);
}
