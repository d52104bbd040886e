import { Command, Option } from 'commander';
import type { PromptRow } from '../../data/prompts.js';
import { UsageError } from '../../errors.js';
import type { ModelDtype } from '../../models/dtypes.js';
import type { RolloutOptions } from '../../rollout/engine.js';
import type { ChatOptions } from '../../text/chat.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import {
  type AdapterOption,
  type CommonOptions,
  day,
  dtypeOption,
  jsonObject,
  logger,
  nonNegativeInteger,
  numberBetween,
  positiveInteger,
  print,
  startBackend,
  withAdapterOption,
  withCommonOptions,
} from '../common.js';
import { type ShardOptions, shardsOf, withShardOptions } from '../ranks.js';
import { type SamplingFlags, samplingOf, withSamplingFlags } from '../samplingOptions.js';

interface GenerateOptions extends SamplingFlags, CommonOptions, ShardOptions, AdapterOption {
  model: string;
  dtype?: ModelDtype;
  teacherDtype?: ModelDtype;
  input: string;
  maxNewTokens: number;
  temperature: number;
  topK: number;
  topP: number;
  greedy?: boolean;
  samples: number;
  sampling: 'independent' | 'antithetic' | 'stratified';
  seed: number;
  batchSize: number;
  bos: boolean;
  templateArgs?: Record<string, unknown>;
  date?: string;
  ignoreEos?: boolean;
  mixWith?: string;
  alpha?: number;
}

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('sample responses to prompts, as JSONL in the order of the input')
    .requiredOption('--model <dir>', 'Hugging Face model directory')
    .addOption(dtypeOption('--dtype', "the model's"))
    .requiredOption('--input <file>', 'JSONL or JSON rows {"prompt":"…"}, {"messages":[…]} or {"ids":[…]}')
    .option('--max-new-tokens <n>', 'longest response', positiveInteger, 64)
    .option('--temperature <t>', 'divides the logits', numberBetween(1e-6, 1e6), 1)
    .option('--top-k <k>', 'keep the k most probable tokens; 0 = all', nonNegativeInteger, 0)
    .option('--top-p <p>', 'keep the most probable tokens of mass p', numberBetween(1e-9, 1), 1)
    .option('--greedy', 'always the most probable token')
    .option('--samples <n>', 'responses per prompt', positiveInteger, 1)
    .addOption(
      new Option(
        '--sampling <scheme>',
        'how the random numbers of the samples of a prompt depend on one another',
      )
        .choices(['independent', 'antithetic', 'stratified'])
        .default('independent'),
    )
    .option('--seed <s>', 'seed of the random streams', nonNegativeInteger, 1)
    .option('--batch-size <b>', 'responses decoded together; no result depends on it', positiveInteger, 32)
    .option(
      '--template-args <json>',
      'variables of the chat template, as {"enable_thinking":false}',
      jsonObject,
    )
    .option('--date <day>', 'the day that a chat template writes, YYYY-MM-DD (default: today)', day)
    .option('--no-bos', 'no beginning token in front of a prompt, as trained with data.bos: false')
    .option('--ignore-eos', 'go on to the length limit')
    .option('--mix-with <dir>', 'sample from (1−α) model + α of this teacher')
    .addOption(dtypeOption('--teacher-dtype', "that teacher's"))
    .option('--alpha <a>', 'share of the teacher, 0 to 1 (default 0.2)', numberBetween(0, 1))
    .addHelpText(
      'after',
      '\nExample:\n  minillm generate --model runs/smoke/final --input prompts.jsonl --samples 4 --seed 7\n',
    );
  withSamplingFlags(command);
  withAdapterOption(command);
  return withCommonOptions(withShardOptions(command)).action(async (options: GenerateOptions) => {
    const log = logger(options);
    if (options.alpha !== undefined && !options.mixWith)
      throw new UsageError('--alpha: has no meaning without --mix-with DIR');
    if (options.teacherDtype !== undefined && !options.mixWith)
      throw new UsageError('--teacher-dtype: has no meaning without --mix-with DIR');
    if (options.sampling === 'antithetic' && options.samples % 2 !== 0)
      throw new UsageError('--sampling antithetic: pairs the samples of a prompt; --samples must be even');
    const { readPrompts } = await import('../../data/prompts.js');
    const prompts = await readPrompts(options.input);
    const { engine } = await startBackend(options, log);
    const { loadModel } = await import('../../models/checkpoint.js');
    const { rolloutPieces } = await import('../../rollout/engine.js');
    const { whole } = await import('../../pieces.js');
    const { loadTokenizer, tokenizerIfPresent } = await import('../../text/tokenizer.js');
    const { assertSameTokenizer, checkTokenizer } = await import('../../runs/materials.js');
    const { withEndTokens } = await import('../../runs/endTokens.js');
    const loaded = await loadModel(options.model, options);
    const teacher = options.mixWith
      ? await loadModel(options.mixWith, { dtype: options.teacherDtype })
      : undefined;
    const needsText = prompts.some((p) => p.ids === undefined);
    const { withoutBos } = await import('../../text/withoutBos.js');
    const { tokenizerDirectory } = await import('../../models/adapter.js');
    const place = await tokenizerDirectory(options.model);
    const own = needsText ? await loadTokenizer(place) : await tokenizerIfPresent(place);
    const tokenizer = own && !options.bos ? withoutBos(own) : own;
    const teacherTokenizer = options.mixWith
      ? await tokenizerIfPresent(await tokenizerDirectory(options.mixWith))
      : undefined;
    if (tokenizer && teacherTokenizer) {
      assertSameTokenizer([options.model, tokenizer], [options.mixWith!, teacherTokenizer]);
    }
    const model = withEndTokens(loaded, { directory: options.model, tokenizer }, log);
    if (needsText)
      for (const one of teacher ? [model, teacher] : [model]) checkTokenizer(one.config, tokenizer!);
    const { chatOptions } = await import('../chatOptions.js');
    const speaks = prompts.some(({ messages }) => messages !== undefined);
    const chat = chatOptions(speaks ? tokenizer : undefined, options, log);
    const encoded = prompts.map((row, index) => ({
      index,
      ids: row.ids ?? encodeRow(row, tokenizer!, chat, index),
    }));
    const { responseProgress } = await import('../responseProgress.js');
    const progress = responseProgress(options.quiet);
    const files = {
      ...{ '--model': options.model, '--adapter': options.adapter },
      ...{ '--input': options.input, '--mix-with': options.mixWith },
    };
    const shards = await shardsOf(options, engine, files, log);
    const rolloutOptions: RolloutOptions = {
      temperature: options.temperature,
      topK: options.topK,
      topP: options.topP,
      ...samplingOf(options, tokenizer),
      greedy: options.greedy ?? false,
      samples: options.samples,
      scheme: options.sampling,
      maxNewTokens: options.maxNewTokens,
      eosIds: options.ignoreEos ? [] : model.config.eosIds,
      seed: options.seed,
      round: 0,
      batchSize: options.batchSize,
      policyVersion: 0,
      ...(teacher && { teacher: { model: teacher, alpha: options.alpha ?? 0.2 } }),
      onProgress: (done, total) => progress.update('sampling', done, total),
    };
    const trajectories = whole(shards.map(encoded, (own) => rolloutPieces(model, own, rolloutOptions)));
    progress.finish();
    for (const t of trajectories) {
      const row: Record<string, unknown> = {
        index: t.promptIndex,
        sample: t.sample,
        ids: Array.from(t.responseIds),
        text: tokenizer?.decode(t.responseIds, { skipSpecial: true }) ?? null,
        logprobs: Array.from(t.studentLogprobs),
        finished: t.finished,
      };
      if (t.teacherLogprobs) {
        row.teacher_logprobs = Array.from(t.teacherLogprobs);
        row.importance_weights = Array.from(t.studentLogprobs, (q, i) =>
          Math.exp(q - t.behaviorLogprobs[i]!),
        );
      }
      print(JSON.stringify(row));
    }
  });
}

function encodeRow(
  { prompt, messages }: PromptRow,
  tokenizer: Tokenizer,
  chat: ChatOptions,
  index: number,
): number[] {
  if (!messages) return tokenizer.encode(prompt!);
  if (!tokenizer.chat)
    throw new UsageError(`row ${index} is a conversation, but the model's tokenizer has no chat template`);
  return tokenizer.encode(tokenizer.chat(messages, chat), { addSpecial: false });
}
