import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Prompt } from '../rollout/engine.js';
import type { ChatOptions } from '../text/chat.js';
import type { PromptFormat } from '../text/template.js';
import type { TrainConfig } from '../training/config.js';

/** Where models and prompts come from: a run directory, or flags, which are stronger. */
export interface VarianceSource {
  run?: string;
  student?: string;
  teacher?: string;
  data?: string;
  template?: string;
  maxNewTokens?: number;
}

export interface VarianceInputs {
  student: Model;
  teacher: Model;
  /** All of the data within the models' context; the measurement takes the first ones. */
  prompts: Prompt[];
  eosIds: readonly number[];
  maxNewTokens: number;
}

/** What is to be loaded. @throws UsageError when something is missing or at odds */
export async function locate(
  source: VarianceSource,
  log: (line: string) => void,
): Promise<{
  student: string;
  teacher: string;
  data: string;
  template: PromptFormat;
  bos: boolean;
  chat: ChatOptions;
  config?: TrainConfig;
  maxNewTokens: number;
}> {
  const { promptFormats } = await import('../text/template.js');
  const config = source.run === undefined ? undefined : await runConfig(source.run);
  const student = source.student ?? (source.run === undefined ? undefined : studentOf(source.run));
  const teacher = source.teacher ?? config?.teacher;
  const { dataFiles } = await import('../runs/materials.js');
  const data = source.data ?? (config && (await dataFiles(config, log)).valid);
  for (const [flag, value] of Object.entries({ student, teacher, data })) {
    if (value === undefined)
      throw new UsageError(
        `variance: --${flag} is missing; give --student, --teacher and --data, or --run DIR`,
      );
  }
  if (typeof teacher !== 'string')
    throw new UsageError(
      `variance: the teacher of ${source.run} is not one model directory; give --teacher DIR`,
    );
  const template = source.template ?? config?.data.template ?? 'alpaca';
  if (!(promptFormats as readonly string[]).includes(template))
    throw new UsageError(`--template ${template}: expected one of ${promptFormats.join(', ')}`);
  return {
    student: student!,
    teacher,
    data: data!,
    template: template as PromptFormat,
    bos: config?.data.bos ?? true,
    chat: { args: config?.data.template_args, date: config?.data.date },
    maxNewTokens: source.maxNewTokens ?? config?.rollout.max_new_tokens ?? 64,
    ...(config && { config }),
  };
}

async function runConfig(run: string): Promise<TrainConfig> {
  const { runPaths } = await import('../runs/runDirectory.js');
  const { readTrainConfig } = await import('../runs/runConfig.js');
  const { config } = runPaths(run);
  if (!existsSync(config))
    throw new UsageError(
      `--run ${run}: no config.resolved.yaml there; expected a directory that minillm train made`,
    );
  return readTrainConfig(config, []);
}

/** The student as the run left it: `final/`, or the best one of a run that has not ended. */
function studentOf(run: string): string {
  const found = ['final', 'best'].map((name) => join(run, name)).find((directory) => existsSync(directory));
  if (found === undefined)
    throw new UsageError(`--run ${run}: neither final/ nor best/ is there yet; give --student DIR`);
  return found;
}

/** Loads models and prompts. The caller owns the models' parameters. */
export async function loadInputs(
  {
    student: studentDir,
    teacher: teacherDir,
    data,
    template,
    bos,
    chat,
    maxNewTokens,
    config,
  }: Awaited<ReturnType<typeof locate>>,
  log: (line: string) => void,
): Promise<VarianceInputs> {
  if (config?.rewards)
    log('note: the rewards of that run are left out: what is measured is the teacher’s term alone');
  const { loadModel } = await import('../models/checkpoint.js');
  const { loadTokenizer } = await import('../text/tokenizer.js');
  const { loadExamples } = await import('../data/examples.js');
  const { assertSameTokenizer, checkTokenizer } = await import('../runs/materials.js');
  const { withEndTokens } = await import('../runs/endTokens.js');
  const { loadStudent } = await import('../runs/students.js');
  const { withoutBos } = await import('../text/withoutBos.js');
  const { isAdapter, tokenizerDirectory } = await import('../models/adapter.js');
  const own = await loadTokenizer(await tokenizerDirectory(studentDir));
  const tokenizer = bos ? own : withoutBos(own);
  assertSameTokenizer(
    [studentDir, tokenizer],
    [teacherDir, await loadTokenizer(await tokenizerDirectory(teacherDir))],
  );
  const lora = (await isAdapter(studentDir)) ? undefined : config?.lora;
  const loaded = await loadStudent(studentDir, { lora, seed: config?.seed ?? 1 }, log);
  const student = withEndTokens(loaded, { directory: studentDir, tokenizer }, log);
  const teacher = await loadModel(teacherDir);
  for (const { config } of [student, teacher]) checkTokenizer(config, tokenizer);
  const context = Math.min(student.config.maxPositions, teacher.config.maxPositions);
  if (maxNewTokens >= context)
    throw new UsageError(
      `--max-new-tokens ${maxNewTokens}: leaves no room for a prompt in the models' context of ${context}; lower it`,
    );
  const { examples, dropped } = await loadExamples(data, tokenizer, {
    template,
    maxPromptTokens: context - maxNewTokens,
    maxTokens: Number.POSITIVE_INFINITY,
    outputs: 'optional',
    ...(template === 'chat' && { chat }),
  });
  log(
    `${data}: ${examples.length} prompts${dropped > 0 ? ` (${dropped} over the token limits left out)` : ''}`,
  );
  return {
    student,
    teacher,
    prompts: examples.map(({ promptIds }, index) => ({ index, ids: promptIds })),
    eosIds: student.config.eosIds,
    maxNewTokens,
  };
}
