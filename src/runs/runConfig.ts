import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import { resolveModel } from '../models/hub.js';
import { type TrainConfig, type TrainConfigInput, trainConfigSchema } from '../training/config.js';
import { isUrl } from '../training/configParts.js';
import { type Refuse, refuseFrom } from './blame.js';
import { checkFiles, checkTogether } from './configChecks.js';
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

const pathFields = [
  ...['student', 'student.tokenizer', 'teacher', 'teacher.cache'],
  ...['data.train', 'data.valid', 'data.corpus', 'pretrain.teacher_cache'],
];

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
      typeof text !== 'string' || text === '' ? text : model ? modelPath(base, text) : resolve(base, text);
    if (typeof value === 'string' && value !== '') parent[key] = await find(value);
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
  if (set.slice(at + 1) === 'null') return leaveOut(tree, keys);
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

/** `--set field=null`: as if the field had not been given. */
function leaveOut(tree: Tree, keys: readonly string[]): void {
  const parent = keys
    .slice(0, -1)
    .reduce<unknown>((node, key) => (isTree(node) && Object.hasOwn(node, key) ? node[key] : undefined), tree);
  if (isTree(parent)) delete parent[keys.at(-1)!];
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

/**
 * Inside a failed union, the branch that came furthest says most; of an object that lacks a key and has one too many, the latter: it is the
 * former, mistyped.
 */
function deepest(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue | undefined {
  const first = issues[0];
  if (first?.code !== 'invalid_union')
    return (
      issues.find(({ code, path }) => code === 'unrecognized_keys' && path.length < first!.path.length) ??
      first
    );
  const branches = first.errors.map((branch) => deepest(branch)).filter((issue) => issue !== undefined);
  const best = branches.sort((a, b) => b.path.length - a.path.length)[0];
  const said = best && best.path.length > 0 ? best : branches.find((b) => b.code === 'unrecognized_keys');
  return said ? { ...said, path: [...first.path, ...said.path] } : first;
}
