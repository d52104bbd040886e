import { existsSync } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import { metricNames } from '../evaluation/evaluationMetrics.js';
import { resolveModel } from '../models/hub.js';
import { baselines } from '../objectives/baselines.js';
import { returnForms } from '../objectives/returns.js';
import { checkTaskObjective } from '../objectives/taskRewards.js';
import {
  isPolicyGradient,
  isUrl,
  rewardName,
  type TrainConfig,
  type TrainConfigInput,
  trainConfigSchema,
} from '../training/config.js';
import { objectiveOf } from '../training/minillm.js';
import { type Refuse, refuseFrom } from './blame.js';
import { checkRemoteTeacher } from './remoteTeacher.js';
import { setValue } from './setField.js';
import { parseUntrustedYaml } from './yaml.js';

/** Fields laid over a configuration, `a.b=value`. */
export interface ConfigLayer {
  sets: readonly string[];
  /** What paths in them are relative to. */
  pathsFrom: string;
  /** What an error line writes before the one that is wrong; default `--set `. */
  name?: string;
}

/**
 * Reads a training configuration: YAML, then `--set a.b=value` on top (text fields take the text as it is, other values are YAML), then the schema, then
 * what one field means for another. Paths are relative to the file they stand in, or to the working directory for `--set`.
 *
 * @param sets those of the command line; or layers of them, later ones stronger, each with its own place for paths
 * @param mayLack files that need not exist (a plan can do without data)
 *
 * @throws UsageError with one line naming the field, what was found and what was expected
 */
export async function readTrainConfig(
  file: string,
  sets: readonly string[] | readonly ConfigLayer[],
  mayLack: readonly ('models' | 'data')[] = [],
): Promise<TrainConfig> {
  const raw = await readYaml(file);
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new UsageError(`${file}: expected a YAML mapping with method, student, data and train`);
  }
  await resolvePaths(raw as Tree, dirname(file));
  const layers = sets.map((layer) =>
    typeof layer === 'string' ? { sets: [layer], pathsFrom: process.cwd() } : layer,
  );
  for (const layer of layers) for (const set of layer.sets) await applySet(raw as Tree, set, layer.pathsFrom);
  const given = layers.flatMap(({ sets, name = '--set ' }) => sets.map((set) => ({ set, name })));
  const refuse = refuseFrom(file, given);
  return checked(raw, refuse, mayLack);
}

/**
 * A training configuration from an object with the fields of docs/configuration.md: the same schema, the same checks and the same
 * messages as for a YAML file. The object is not changed.
 *
 * @param pathsFrom what relative paths are relative to; default: the working directory
 * @throws UsageError with one line naming the field, what was found and what was expected
 */
export async function trainConfigFrom(
  fields: TrainConfigInput,
  pathsFrom: string = process.cwd(),
): Promise<TrainConfig> {
  const refuse = refuseFrom('configuration');
  let raw: unknown;
  try {
    raw = structuredClone(fields);
  } catch (error) {
    return refuse(`${(error as Error).message}; expected plain values, as a YAML file holds them`, '');
  }
  if (!isTree(raw)) return refuse('expected an object with method, student, data and train', '');
  await resolvePaths(raw, pathsFrom);
  return checked(raw, refuse, []);
}

async function checked(
  raw: unknown,
  refuse: Refuse,
  mayLack: readonly ('models' | 'data')[],
): Promise<TrainConfig> {
  const config = parsed(trainConfigSchema, raw, refuse);
  checkLength(raw, refuse);
  checkTogether(config, refuse);
  await checkFiles(config, refuse, mayLack);
  return config;
}

export function stringifyConfig(config: TrainConfig): string {
  const { steps, ...train } = config.train;
  return stringify(train.epochs === undefined ? config : { ...config, train });
}

/** A run is as long as one of the two says; which of them was given, the parsed configuration no longer shows. */
function checkLength(raw: unknown, fail: Refuse): void {
  const { steps, epochs } = (raw as { train: { steps?: unknown; epochs?: unknown } }).train;
  if (steps === undefined && epochs === undefined)
    fail('train.steps: missing; say how many optimizer steps, or give train.epochs');
  if (steps !== undefined && epochs !== undefined)
    fail('train.epochs: stands beside train.steps; leave one of them out');
}

type Tree = { [key: string]: unknown };

const pathFields = ['student', 'student.tokenizer', 'teacher', 'data.train', 'data.valid', 'data.corpus'];

async function resolvePaths(tree: Tree, base: string): Promise<void> {
  for (const field of pathFields) {
    const keys = field.split('.');
    const parent = keys
      .slice(0, -1)
      .reduce<unknown>((node, key) => (isTree(node) ? node[key] : undefined), tree);
    const key = keys.at(-1)!;
    if (!isTree(parent)) continue;
    const value = parent[key];
    const model = field === 'student' || field === 'teacher';
    const find = (text: unknown): unknown =>
      typeof text !== 'string' ? text : model ? modelPath(base, text) : resolve(base, text);
    if (typeof value === 'string') parent[key] = await find(value);
    if (Array.isArray(value)) parent[key] = await Promise.all(value.map(find));
  }
  if (!Array.isArray(tree.rewards)) return;
  for (const reward of tree.rewards)
    if (isTree(reward) && typeof reward.module === 'string') reward.module = resolve(base, reward.module);
}

/** A directory, else the snapshot of a Hugging Face id in the cache, else the directory that is missing. */
async function modelPath(base: string, text: string): Promise<string> {
  if (isUrl(text)) return text;
  const local = resolve(base, text);
  return existsSync(local) ? local : resolveModel(text).catch(() => local);
}

async function applySet(tree: Tree, set: string, pathsFrom: string): Promise<void> {
  const at = set.indexOf('=');
  if (at < 1) throw new UsageError(`--set ${set}: expected field=value, for example --set train.steps=100`);
  const keys = set.slice(0, at).split('.');
  const value = setValue(trainConfigSchema, keys, set.slice(at + 1), (text) =>
    parseYaml(text, `--set ${set}`),
  );
  const own = emptyTree();
  let node = own;
  for (const key of keys.slice(0, -1)) {
    const child = emptyTree();
    node[key] = child;
    node = child;
  }
  node[keys.at(-1)!] = value;
  await resolvePaths(own, pathsFrom);
  // A length on the command line takes the place of the other kind in the file.
  const other = { 'train.steps': 'epochs', 'train.epochs': 'steps' }[keys.join('.')];
  if (other && isTree(tree.train)) delete tree.train[other];
  merge(tree, own);
}

/** Without a prototype: `__proto__` is a key like any other, which the schema then refuses by name. */
function emptyTree(): Tree {
  return Object.create(null) as Tree;
}

function merge(into: Tree, from: Tree): void {
  for (const [key, value] of Object.entries(from)) {
    // defineProperty never reaches a setter such as that of __proto__.
    const old = Object.hasOwn(into, key) ? into[key] : undefined;
    if (isTree(old) && isTree(value)) merge(old, value);
    else Object.defineProperty(into, key, { value, enumerable: true, writable: true, configurable: true });
  }
}

function isTree(x: unknown): x is Tree {
  return typeof x === 'object' && x !== null && !Array.isArray(x);
}

/** @throws UsageError when the file cannot be read or is no YAML */
export async function readYaml(file: string): Promise<unknown> {
  return parseYaml(await readText(file), file);
}

function parseYaml(text: string, where: string): unknown {
  try {
    return parseUntrustedYaml(text);
  } catch (error) {
    throw new UsageError(`${where}: not valid YAML (${(error as Error).message.split('\n')[0]})`);
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${file}: cannot be read (${(error as NodeJS.ErrnoException).code}); give the path of a YAML file`,
    );
  }
}

/** One line out of a zod failure: the first issue, its path, what was expected and, for a wrong key, what exists. */
export function validate<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  return parsed(schema, value, refuseFrom(where));
}

function parsed<S extends z.ZodType>(schema: S, value: unknown, refuse: Refuse): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues)!;
  const field = issue.path.join('.');
  const wrongKeys = issue.code === 'unrecognized_keys' ? issue.keys : [];
  const known = wrongKeys.length > 0 ? `; expected ${keysAt(schema, issue.path).join(', ')}` : '';
  const place = [...issue.path, ...wrongKeys.slice(0, 1)].join('.');
  return refuse(`${field === '' ? '' : `${field}: `}${issue.message}${known}`, place);
}

/** The keys that a schema knows at a path. */
function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return keysAt(schema.unwrap(), path);
  }
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => keysAt(option, path));
  if (!(schema instanceof z.ZodObject)) return [];
  const [key, ...rest] = path;
  return key === undefined ? Object.keys(schema.shape) : keysAt(schema.shape[key as string]!, rest);
}

/** Inside a failed union, the branch that came furthest says most. */
function deepest(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue | undefined {
  const first = issues[0];
  if (first?.code !== 'invalid_union') return first;
  const branches = first.errors.map((branch) => deepest(branch)).filter((issue) => issue !== undefined);
  const best = branches.sort((a, b) => b.path.length - a.path.length)[0];
  if (!best || best.path.length === 0) return branches.find((b) => b.code === 'unrecognized_keys') ?? first;
  return { ...best, path: [...first.path, ...best.path] };
}

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
    objective.baseline === 'value'
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

function checkTogether(config: TrainConfig, fail: Refuse): void {
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
  if (config.method !== 'sft' && !config.teacher) fail(`teacher: missing; ${config.method} needs one`);
  if (Array.isArray(config.teacher) && config.teacher.length > 1 && config.method !== 'babyllama') {
    fail(
      `teacher: ${config.method} takes one teacher, found ${config.teacher.length}; only babyllama takes several`,
    );
  }
  checkRemoteTeacher(config, fail);
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

/** Rewards reach the student through the returns of sampled responses, which only the policy gradient has. */
function checkRewards(config: TrainConfig, fail: Refuse): void {
  const { method, rewards } = config;
  if (!rewards) return;
  if (!isPolicyGradient(method))
    fail(`rewards: ${method} has no policy gradient that they could enter; take minillm or opd`);
  const names = rewards.map(rewardName);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice) fail(`rewards: two are called ${twice}; give each a name of its own`);
  try {
    checkTaskObjective(objectiveOf({ config }));
  } catch (error) {
    fail((error as Error).message);
  }
}

async function checkFiles(
  { student, teacher, data, rewards = [] }: TrainConfig,
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
  const modules = rewards.map(({ module }, i): [string, string] => [`rewards[${i}].module`, module]);
  for (const [field, path] of [
    ...modules,
    ...(mayLack.includes('models') ? [] : models),
    ...(mayLack.includes('data') ? [] : rows),
  ]) {
    if (path === undefined) continue;
    await access(path).catch(() => refuse(`${field}: ${path} does not exist`));
  }
}
