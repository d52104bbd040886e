import { Command, Option } from 'commander';
import { UsageError } from '../../errors.js';
import type { ModelDtype } from '../../models/dtypes.js';
import type { Model } from '../../models/model.js';
import { type ObjectiveConfig, presetNames } from '../../objectives/presets.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import type { Inspection } from '../../training/inspect.js';
import type { Rescored, SampledResponse } from '../../training/rescore.js';
import type { Models } from '../../training/supervised.js';
import {
  type AdapterOption,
  type CommonOptions,
  dtypeOption,
  logger,
  nonNegativeInteger,
  positiveInteger,
  print,
  repeated,
  startBackend,
  withAdapterOption,
  withCommonOptions,
} from '../common.js';
import { inspectionTable } from '../inspectionTable.js';
import { switchesFrom } from '../objective.js';

interface InspectOptions extends CommonOptions, AdapterOption {
  student: string;
  teacher: string;
  teacherDtype?: ModelDtype;
  rollouts?: string;
  prompts?: string;
  samples: number;
  maxNewTokens: number;
  seed: number;
  preset: string;
  set: string[];
  pretrain?: string;
  batchSize?: number;
  json?: boolean;
}

/** `minillm inspect`: one MiniLLM step taken apart. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('every intermediate of the MiniLLM loss on given or sampled responses, and its gradient')
    .requiredOption('--student <dir>', 'Hugging Face model directory')
    .requiredOption('--teacher <dir>', 'Hugging Face model directory')
    .addOption(dtypeOption('--teacher-dtype', "the teacher's"))
    .option('--rollouts <file>', 'JSONL or JSON rows {"prompt_ids":[…],"response_ids":[…]}, see below')
    .option('--prompts <file>', 'sample the responses: JSONL or JSON rows {"prompt":"…"} or {"ids":[…]}')
    .option('--samples <k>', 'with --prompts: responses per prompt', positiveInteger, 1)
    .option('--max-new-tokens <n>', 'with --prompts: longest response', positiveInteger, 64)
    .option('--seed <s>', 'with --prompts: seed of the random streams', nonNegativeInteger, 1)
    .addOption(
      new Option('--preset <name>', 'switches of the objective').choices(presetNames).default('minillm'),
    )
    .option(
      '--set <switch=value>',
      'change a switch of the preset (docs/minillm.md); repeatable',
      repeated,
      [],
    )
    .option('--pretrain <file>', 'JSONL or JSON rows {"ids":[…]}: plain text for the pretraining loss')
    .option(
      '--batch-size <b>',
      'responses in one forward and backward pass; no result depends on it',
      positiveInteger,
    )
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `
A row of --rollouts may carry what is known of the response, one number a token: "old_logprobs" (of the student that
sampled, at the temperature), "teacher_logprobs" (temperature 1), "teacher_logprobs_t" (at the temperature). What is
absent is computed from the models. "task_reward", a number or one a token, is the weighted sum of the rewards of a task.
Nothing is trained.

Example:
  echo '{"prompt_ids":[5,9,2],"response_ids":[7,3,1]}' > rollouts.jsonl
  minillm inspect --student runs/sft/final --teacher models/teacher --rollouts rollouts.jsonl --preset lmops`,
    );
  withAdapterOption(command);
  return withCommonOptions(command).action(async (options: InspectOptions) => {
    const log = logger(options);
    if ((options.rollouts === undefined) === (options.prompts === undefined))
      throw new UsageError('inspect: give either --rollouts FILE, or --prompts FILE to sample responses');
    const { resolveObjective } = await import('../../objectives/presets.js');
    const objective = resolveObjective(options.preset, await switchesFrom(options.set));
    const { readRollouts, readTexts } = await import('../../data/rollouts.js');
    const { readPrompts } = await import('../../data/prompts.js');
    const given = options.rollouts ? await readRollouts(options.rollouts) : undefined;
    const prompts = options.prompts ? await readPrompts(options.prompts) : undefined;
    const texts = options.pretrain ? await readTexts(options.pretrain) : [];
    await startBackend(options, log);
    const { loadModel } = await import('../../models/checkpoint.js');
    const { disposeModel } = await import('../../models/model.js');
    const { inspectStep } = await import('../../training/inspect.js');
    const { rescore } = await import('../../training/rescore.js');
    const tokenizer = await commonTokenizer(options.student, options.teacher);
    const { withEndTokens } = await import('../../runs/endTokens.js');
    const models = {
      student: withEndTokens(
        await loadModel(options.student, options),
        { directory: options.student, tokenizer },
        log,
      ),
      teachers: [await loadModel(options.teacher, { dtype: options.teacherDtype })],
    };
    for (const { where, promptIds, responseIds } of given ?? [])
      checkIds(models, [...promptIds, ...responseIds], where);
    for (const { where, ids } of texts) checkIds(models, ids, where);
    const responses = given ?? (await sample(models, prompts!, tokenizer, objective, options, log));
    const records = rescore(models, responses, objective, options.batchSize);
    const result = inspectStep(
      models,
      records.map((r) => r.trajectory),
      texts.map(({ ids }) => ids),
      objective,
      options.batchSize,
    );
    for (const model of [models.student, ...models.teachers]) disposeModel(model);
    if (options.json) print(JSON.stringify(asJson(result, records, options.preset, objective)));
    else print(inspectionTable(result, records, tokenizer));
  });
}

/** For the texts of the table; ids need none. @throws UsageError when the two models have different ones */
async function commonTokenizer(student: string, teacher: string): Promise<Tokenizer | undefined> {
  const { tokenizerIfPresent } = await import('../../text/tokenizer.js');
  const { assertSameTokenizer } = await import('../../runs/materials.js');
  const { tokenizerDirectory } = await import('../../models/adapter.js');
  const own = await tokenizerIfPresent(await tokenizerDirectory(student));
  const other = await tokenizerIfPresent(await tokenizerDirectory(teacher));
  if (own && other) assertSameTokenizer([student, own], [teacher, other]);
  return own ?? other;
}

/** Ids that either model lacks have no log-ratio, and positions that it lacks no logits. */
function checkIds({ student, teachers }: Models, ids: ArrayLike<number>, where: string): void {
  const of = (f: (m: Model) => number): number => Math.min(...[student, ...teachers].map(f));
  const vocabulary = of((m) => m.config.vocabSize);
  const foreign = Array.from(ids).find((id) => id >= vocabulary);
  if (foreign !== undefined) {
    throw new UsageError(
      `${where}: the token id ${foreign} is outside the vocabulary of ${vocabulary} that student and teacher share`,
    );
  }
  const context = of((m) => m.config.maxPositions);
  // The last token is only predicted.
  if (ids.length - 1 > context) {
    throw new UsageError(
      `${where}: ${ids.length} tokens, more than the context of ${context} that both models have; shorten it`,
    );
  }
}

async function sample(
  models: Models,
  prompts: readonly { prompt?: string | undefined; ids?: number[] | undefined }[],
  tokenizer: Tokenizer | undefined,
  objective: ObjectiveConfig,
  options: InspectOptions,
  log: (line: string) => void,
): Promise<SampledResponse[]> {
  const { rollout } = await import('../../rollout/engine.js');
  if (!tokenizer && prompts.some((p) => p.prompt !== undefined)) {
    throw new UsageError(
      `${options.prompts}: rows of text need a tokenizer.json in ${options.student}; give rows {"ids":[…]}`,
    );
  }
  if (prompts.some((p) => p.prompt === undefined && p.ids === undefined))
    throw new UsageError(
      `${options.prompts}: inspect puts no conversation through a chat template; give rows {"prompt":"…"} or {"ids":[…]}`,
    );
  if (prompts.some((p) => p.prompt !== undefined)) {
    const { checkTokenizer } = await import('../../runs/materials.js');
    for (const { config } of [models.student, ...models.teachers]) checkTokenizer(config, tokenizer!);
  }
  return rollout(
    models.student,
    prompts.map((p, index) => ({ index, ids: p.ids ?? tokenizer!.encode(p.prompt!) })),
    {
      temperature: objective.temperature,
      topK: 0,
      topP: 1,
      greedy: false,
      samples: options.samples,
      maxNewTokens: options.maxNewTokens,
      eosIds: models.student.config.eosIds,
      seed: options.seed,
      round: 0,
      batchSize: options.batchSize ?? 32,
      policyVersion: 0,
      teacher: { model: models.teachers[0]!, alpha: objective.alpha },
      onProgress: (done, total) => log(`${done}/${total} responses`),
    },
  ).map(({ promptIds, responseIds, studentLogprobs, teacherLogprobs }) => ({
    promptIds,
    responseIds,
    oldLogprobs: studentLogprobs,
    teacherLogprobs: teacherLogprobs!,
  }));
}

/** The numbers, and all that is needed to compute them again: the switches and the rollouts as they entered. */
function asJson(
  result: Inspection,
  records: readonly Rescored[],
  preset: string,
  objective: ObjectiveConfig,
): Record<string, unknown> {
  const taskOf = ({ rewards }: Rescored['trajectory']) => {
    const value = rewards?.[0]?.value;
    if (value === undefined) return {};
    return { task_reward: typeof value === 'number' ? value : Array.from(value) };
  };
  const rollouts = records.map(({ trajectory, teacherLogprobsT }) => ({
    prompt_ids: Array.from(trajectory.promptIds),
    response_ids: Array.from(trajectory.responseIds),
    old_logprobs: Array.from(trajectory.studentLogprobs),
    teacher_logprobs: Array.from(trajectory.teacherLogprobs!),
    teacher_logprobs_t: Array.from(teacherLogprobsT),
    ...taskOf(trajectory),
  }));
  return { preset, objective, ...result, rollouts };
}
