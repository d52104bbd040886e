import { existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import { metricNames } from '../evaluation/evaluationMetrics.js';
import { baselines } from '../objectives/baselines.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { returnForms } from '../objectives/returns.js';
import { checkTaskObjective } from '../objectives/taskRewards.js';
import { indexFile } from '../scoring/cache/cacheIndex.js';
import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { cacheOf, isUrl, placeOfTeacher, rewardName } from '../training/configParts.js';
import { objectiveOf } from '../training/minillm.js';
import type { Refuse } from './blame.js';
import { checkRemoteTeacher } from './remoteTeacher.js';
import { checkCachedTeacher } from './teacherCacheChecks.js';

/** What only a validation could decide. */
function checkNoValidation({ eval: { patience, select } }: TrainConfig, fail: Refuse): void {
  if (patience !== undefined)
    fail(`eval.patience: ${patience} validations of none; give data.valid, or leave it out`);
  if (select !== undefined)
    fail(
      `eval.select: ${select} chooses by validations, and there are none; give data.valid, or leave it out`,
    );
}

/** Without rollouts there are no returns for a value head to learn. */
function checkNoValueHead({ method, objective }: TrainConfig, fail: Refuse): void {
  const asked =
    objective.baseline && baselines[objective.baseline].ofValues
      ? 'baseline'
      : objective.returns && returnForms[objective.returns].needsValues
        ? 'returns'
        : undefined;
  if (asked)
    fail(
      `objective.${asked}: ${objective[asked]} needs a value head, which minillm and opd train and ${method} does not; leave it out`,
    );
}

/** A loss on plain text that somebody asked for, and no text. The one that presets bring is left out without it. */
function checkText({ method, objective, distillm, data }: TrainConfig, fail: Refuse): void {
  if (data.corpus || data.wordnet) return;
  const [field, weight] =
    method === 'distillm' ? ['distillm.lm_coef', distillm.lm_coef] : ['objective.lm_coef', objective.lm_coef];
  if (weight && (method === 'distillm' || isPolicyGradient(method)))
    fail(`${field}: ${weight} weighs a loss on plain text; give data.corpus, or set it to 0`);
}

/** Weights of 16 bits do not train: a step is often smaller than what they can tell apart. */
function checkDtypes(config: TrainConfig, fail: Refuse): void {
  const { student, student_dtype = 'float32', teacher_dtype, teacher } = config;
  if (student_dtype !== 'float32' && typeof student !== 'string')
    fail(
      `student_dtype: ${student_dtype} weights do not train, and every weight of a new student does; use float32`,
    );
  const places = [teacher ?? []].flat().map(placeOfTeacher);
  if (teacher_dtype && places.length > 0 && places.every((place) => typeof place !== 'string'))
    fail(
      'teacher_dtype: this teacher is behind a server, which keeps the weights; give --dtype to minillm serve',
    );
}

/** What one field means for another. */
export function checkTogether(config: TrainConfig, fail: Refuse): void {
  const { data, train, rollout } = config;
  if (data.wordnet && (data.train || data.valid))
    fail('data: give either wordnet or train and valid, not both');
  if (!data.wordnet && !data.train)
    fail('data.train: missing; give a JSONL file, or data.wordnet: {} for the embedded set');
  if (!data.wordnet && !data.valid) checkNoValidation(config, fail);
  if (data.template !== 'chat' && Object.keys(data.template_args).length > 0)
    fail(`data.template_args: only the template chat takes arguments; set data.template to chat`);
  if (data.max_prompt_tokens >= data.max_tokens) {
    fail(
      `data.max_prompt_tokens: ${data.max_prompt_tokens} leaves no room for a response within data.max_tokens ${data.max_tokens}`,
    );
  }
  if (config.lora && typeof config.student !== 'string')
    fail('lora: a new student has no weights that adapters could stand on; give the directory of a model');
  if (config.method !== 'sft' && !config.teacher) fail(`teacher: missing; ${config.method} needs one`);
  if (Array.isArray(config.teacher) && config.teacher.length > 1 && config.method !== 'babyllama') {
    fail(
      `teacher: ${config.method} takes one teacher, found ${config.teacher.length}; only babyllama takes several`,
    );
  }
  checkRemoteTeacher(config, fail);
  checkDtypes(config, fail);
  checkCachedTeacher(config, fail);
  const unknown = config.eval.metrics.find((name) => !(metricNames as string[]).includes(name));
  if (unknown !== undefined)
    fail(`eval.metrics: ${unknown} is no metric; expected some of ${metricNames.join(', ')}`);
  checkText(config, fail);
  if (config.eval.patience && config.eval.every === 0)
    fail(`eval.patience: ${config.eval.patience} validations of none; set eval.every to 1 or more`);
  if (train.batch_size % train.shards !== 0)
    fail(`train.shards: train.batch_size ${train.batch_size} cannot be cut into ${train.shards} equal parts`);
  if (train.epochs === undefined && train.warmup > train.steps)
    fail(`train.warmup: ${train.warmup} is more than train.steps ${train.steps}`);
  if (isPolicyGradient(config.method) && rollout.temperature !== 1) {
    fail(`rollout.temperature: ${config.method} samples at objective.temperature; set that one`);
  }
  if (config.method === 'opd' && config.objective.preset !== 'minillm') {
    fail('objective.preset: opd has switches of its own; leave the preset out and set single switches');
  }
  if (config.method === 'distillm' && config.distillm.capacity < train.batch_size) {
    fail(
      `distillm.capacity: ${config.distillm.capacity} is less than train.batch_size ${train.batch_size}; a batch is drawn from the buffer`,
    );
  }
  if (isPolicyGradient(config.method)) {
    const objective = objectiveOf({ config });
    if (rollout.states === 'gold') checkGoldStates(config, objective, fail);
    checkTerms(config, objective, fail);
    if (baselines[objective.baseline].ofSamples && rollout.samples < 2) {
      fail(
        `objective.baseline: ${objective.baseline} compares the samples of a prompt; set rollout.samples to 2 or more`,
      );
    }
    if (rollout.sampling === 'antithetic' && rollout.samples % 2 !== 0) {
      fail(
        `rollout.sampling: antithetic pairs the samples of a prompt; set rollout.samples to an even number`,
      );
    }
    if (rollout.sampling === 'stratified' && rollout.samples < 2) {
      fail(`rollout.sampling: stratified parts the samples of a prompt; set rollout.samples to 2 or more`);
    }
    const padded = objective.whiten === 'padded' || objective.baseline === 'whiten-padded';
    if (padded && objective.max_response > 0 && objective.max_response < rollout.max_new_tokens) {
      fail(
        `objective.max_response: ${objective.max_response} is less than rollout.max_new_tokens ${rollout.max_new_tokens}; padded whitening needs a slot for every token`,
      );
    }
    if (rollout.rollouts % train.batch_size !== 0) {
      fail(`rollout.rollouts: ${rollout.rollouts} is not a multiple of train.batch_size ${train.batch_size}`);
    }
    if (train.batch_size % rollout.samples !== 0) {
      fail(
        `train.batch_size: ${train.batch_size} is not a multiple of rollout.samples ${rollout.samples}; the samples of a prompt stay together`,
      );
    }
    if ((train.batch_size / rollout.samples) % train.shards !== 0) {
      fail(
        `train.shards: the ${train.batch_size / rollout.samples} prompts of an optimizer batch cannot be cut into ${train.shards} equal parts`,
      );
    }
  }
  if (!isPolicyGradient(config.method)) checkNoValueHead(config, fail);
  checkRewards(config, fail);
}

/** Gold responses are nobody's samples: neither returns nor importance weights mean anything there. */
function checkGoldStates({ rollout, rewards }: TrainConfig, objective: ObjectiveConfig, fail: Refuse): void {
  const wrong = [
    objective.returns !== 'none' && `objective.returns: ${objective.returns}; set none`,
    objective.include_r_t && 'objective.include_r_t: true; set false',
    objective.alpha > 0 && `objective.alpha: ${objective.alpha}; set 0`,
    rollout.samples > 1 && `rollout.samples: ${rollout.samples}; set 1`,
    rewards && 'rewards: they are of samples; leave them out',
  ].filter((found) => found);
  if (wrong.length > 0) fail(`${wrong.join('; ')} (rollout.states: gold is nobody's samples)`);
}

/** A policy gradient whose every term is switched off: a run would sample and learn nothing. */
function checkTerms(
  { data, rewards }: TrainConfig,
  { single_step, returns, include_r_t, gold_coef, entropy_coef, lm_coef }: ObjectiveConfig,
  fail: Refuse,
): void {
  const text = lm_coef > 0 && (data.corpus !== undefined || data.wordnet !== undefined);
  if (
    single_step ||
    returns !== 'none' ||
    include_r_t ||
    gold_coef > 0 ||
    entropy_coef > 0 ||
    rewards ||
    text
  )
    return;
  fail(
    'objective.returns: none, and no other term is left to learn from; set objective.single_step or include_r_t to true, or gold_coef above 0',
  );
}

/** Rewards reach the student through the returns of sampled responses, which only the policy gradient has. */
function checkRewards(config: TrainConfig, fail: Refuse): void {
  if (!config.rewards) return;
  try {
    assertRewards(config, config.rewards.map(rewardName));
  } catch (error) {
    fail((error as Error).message);
  }
}

/**
 * @param names of all rewards, those of a library's caller among them
 * @throws UsageError for a method or an objective that takes none, or two of one name
 */
export function assertRewards(config: TrainConfig, names: readonly string[]): void {
  if (!isPolicyGradient(config.method))
    throw new UsageError(
      `rewards: ${config.method} has no policy gradient that they could enter; take minillm or opd`,
    );
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice) throw new UsageError(`rewards: two are called ${twice}; give each a name of its own`);
  checkTaskObjective(objectiveOf({ config }));
}

function isCache(directory: string): boolean {
  return existsSync(indexFile(directory)) && !existsSync(join(directory, 'config.json'));
}

/** Whether the files that a configuration names are there, but for kinds that may be lacking. */
export async function checkFiles(
  { student, teacher, data, pretrain, rewards = [] }: TrainConfig,
  refuse: Refuse,
  mayLack: readonly ('models' | 'data')[],
): Promise<void> {
  const models: [string, string | undefined][] = [
    ['student', typeof student === 'string' ? student : student.tokenizer],
    ...[teacher ?? []]
      .flat()
      .flatMap((t): [string, string][] => (typeof t === 'string' && !isUrl(t) ? [['teacher', t]] : [])),
  ];
  const rows = (['train', 'valid', 'corpus'] as const).map((name): [string, string | undefined] => [
    `data.${name}`,
    data[name],
  ]);
  const caches: [string, string | undefined][] = [
    ['teacher.cache', cacheOf(teacher)],
    ['pretrain.teacher_cache', pretrain.teacher_cache],
  ];
  const modules = rewards.map(({ module }, i): [string, string] => [`rewards[${i}].module`, module]);
  for (const [field, path] of models)
    if (path && field === 'teacher' && isCache(path))
      refuse(`teacher: ${path} is a teacher's cache and no model; set teacher.cache to it`);
  for (const [field, path] of [
    ...modules,
    ...(mayLack.includes('models') ? [] : [...models, ...caches]),
    ...(mayLack.includes('data') ? [] : rows),
  ]) {
    if (path === undefined) continue;
    await access(path).catch(() => refuse(`${field}: ${path} does not exist`));
  }
}
