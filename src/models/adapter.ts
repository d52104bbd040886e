import { isAbsolute, join, resolve } from 'node:path';
import { makeDirectory, writeAtomically } from '../durable.js';
import { UsageError } from '../errors.js';
import { disposeParams, type Params } from '../tensor/params.js';
import { PEFT_PREFIX, parseAdapter } from './adapterConfig.js';
import type { ModelConfig } from './config.js';
import { exists, readJsonObject } from './files.js';
import { resolveModel } from './hub.js';
import { loadTensor, pieceFor } from './loadTensor.js';
import { trainedParameters, withAdapters } from './lora.js';
import type { BaseSource } from './loraTargets.js';
import type { Model } from './model.js';
import { filesDigest, modelDigest } from './modelDigest.js';
import { checkShape, copyTokenizer, generationConfig, sourceOf, withGeneration } from './modelFiles.js';
import { type WeightDtype, writeSafetensors } from './safetensorsWriter.js';
import { openFile, type Weights } from './weights.js';

/*
 * The directory of an adapter, as PEFT saves it:
 *
 *   adapter_config.json          which maps of which base, rank and scale
 *   adapter_model.safetensors    A [r, in] and B [out, r] of every map, under base_model.model.<map>.lora_A.weight and lora_B.weight
 *
 * and of ours beside them base.json (the SHA-256 of the base that it was trained on), generation_config.json and the tokenizer.
 */

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const BASE = 'base.json';

export async function isAdapter(directory: string): Promise<boolean> {
  return exists(join(directory, CONFIG));
}

/**
 * Where a model argument's weights are: its own, or those of the base that the adapter in it names.
 *
 * @param options.adapter an adapter that is given beside its base
 * @throws UsageError if there is no such adapter, or no such base
 */
export async function placesOf(
  directory: string,
  { adapter }: { adapter?: string | undefined },
): Promise<{ base: string; adapter?: string }> {
  if (adapter === undefined)
    return (await isAdapter(directory))
      ? { base: await baseDirectory(directory), adapter: directory }
      : { base: directory };
  if (!(await isAdapter(adapter)))
    throw new UsageError(`${adapter}: no adapter (${CONFIG}) in this directory`);
  if (await isAdapter(directory))
    throw new UsageError(
      `${directory}: holds an adapter itself; give its base beside the adapter ${adapter}`,
    );
  return { base: directory, adapter };
}

/** The base that an adapter names: relative to the adapter, to the working directory, or by its id on the hub. */
async function baseDirectory(directory: string): Promise<string> {
  const file = join(directory, CONFIG);
  const { base_model_name_or_path: name, revision } = await readJsonObject(file);
  if (typeof name !== 'string' || name === '')
    throw new UsageError(`${file}: names no base (base_model_name_or_path); ${BASE_BY_HAND}`);
  const beside = resolve(directory, name);
  if (await exists(beside)) return plain(beside, file);
  const id = typeof revision === 'string' ? `${name}@${revision}` : name;
  const found = await resolveModel(isAbsolute(name) || (await exists(name)) ? name : id).catch(() => {
    throw new UsageError(
      `${file}: its base ${JSON.stringify(name.slice(0, 200))} is no directory here and not in the cache of the hub; ${BASE_BY_HAND}`,
    );
  });
  return plain(found, file);
}

const BASE_BY_HAND = 'give the base as the model and --adapter for this directory';

async function plain(base: string, file: string): Promise<string> {
  if (await isAdapter(base))
    throw new UsageError(`${file}: its base ${base} is an adapter itself; merge that first`);
  if (!(await exists(join(base, 'config.json'))))
    throw new UsageError(`${file}: its base ${base} holds no config.json; ${BASE_BY_HAND}`);
  return base;
}

/** How the files of an adapter name a base: a snapshot of the hub's cache by its id and commit, a directory as it is. */
export function baseSource(directory: string): BaseSource {
  const [, folder, commit] =
    /models--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]?$/.exec(directory) ?? [];
  return folder && commit
    ? { name: folder.replaceAll('--', '/'), revision: commit }
    : { name: resolve(directory) };
}

/** A directory with the tokenizer of a model argument: that of the base, where an adapter came without one. */
export async function tokenizerDirectory(directory: string): Promise<string> {
  if (!(await isAdapter(directory)) || (await exists(join(directory, 'tokenizer.json')))) return directory;
  return baseDirectory(directory);
}

/**
 * The configuration of a base with an adapter, checked against the header of the adapter's file.
 *
 * @throws UsageError naming the field or tensor that is malformed, does not fit, or is not supported
 */
export async function adapterConfigOf(directory: string, base: ModelConfig): Promise<ModelConfig> {
  const file = join(directory, CONFIG);
  const json = await readJsonObject(file);
  const weights = await openAdapter(directory);
  try {
    const lora = parseAdapter(json, file, base, weights.names());
    const digest = await baseDigest(directory);
    const config = withAdapters(base, { ...lora, ...(digest !== undefined && { baseDigest: digest }) });
    checkTensors(config, weights);
    return await withGeneration(config, directory);
  } finally {
    await weights.close();
  }
}

async function openAdapter(directory: string): Promise<Weights> {
  const file = join(directory, WEIGHTS);
  if (!(await exists(file)) && (await exists(join(directory, 'adapter_model.bin'))))
    throw new UsageError(`${directory}: no ${WEIGHTS} (adapter_model.bin is not read: convert it)`);
  return openFile(file);
}

/** Shapes are checked before anything is read. */
function checkTensors(config: ModelConfig, weights: Weights): void {
  const specs = trainedParameters(config);
  const found = new Set(weights.names());
  for (const [name, spec] of Object.entries(specs)) {
    if (!found.delete(PEFT_PREFIX + name))
      throw new UsageError(
        `${weights.where}: no tensor ${JSON.stringify(PEFT_PREFIX + name)}, which ${CONFIG} calls for`,
      );
    checkShape(weights, PEFT_PREFIX + name, spec, CONFIG);
  }
  const [unknown] = found;
  if (unknown !== undefined)
    throw new UsageError(
      `${weights.where}: unexpected tensor ${JSON.stringify(unknown.slice(0, 120))}; an adapter of this ${CONFIG} has none`,
    );
}

/**
 * The trained parameters of an adapter. The caller owns them.
 *
 * @param config with its adapters @throws UsageError if a tensor is missing, of another shape, cut off or not finite
 */
export async function loadAdapter(directory: string, config: ModelConfig): Promise<Params> {
  const weights = await openAdapter(directory);
  const params: Params = {};
  try {
    checkTensors(config, weights);
    const specs = trainedParameters(config);
    const piece = pieceFor(specs);
    for (const [name, spec] of Object.entries(specs))
      params[name] = await loadTensor(weights, PEFT_PREFIX + name, spec, piece);
    return params;
  } catch (error) {
    disposeParams(params);
    throw error;
  } finally {
    await weights.close();
  }
}

/** The digest that an adapter of ours has of its base. */
export async function baseDigest(directory: string): Promise<string | undefined> {
  const file = join(directory, BASE);
  if (!(await exists(file))) return undefined;
  const { sha256 } = await readJsonObject(file);
  if (typeof sha256 !== 'string')
    throw new UsageError(`${file}: sha256 is missing; delete the file to do without the check`);
  return sha256;
}

/** @throws UsageError if the base is not the one that the adapter was trained on, where that is known */
export async function checkBase(adapter: string, base: string): Promise<void> {
  const expected = await baseDigest(adapter);
  if (expected === undefined) return;
  const found = await modelDigest(base);
  if (found !== expected)
    throw new UsageError(
      `${adapter}: was trained on another base than ${base} (SHA-256 ${expected.slice(0, 12)}, found ${found.slice(0, 12)}); give the base that it was trained on as the model`,
    );
}

/** SHA-256 of all that the distributions of a model argument depend on: as `modelDigest`, and of its adapter where it has one. */
export async function sourceDigest(
  directory: string,
  options: { adapter?: string | undefined } = {},
): Promise<string> {
  const { base, adapter } = await placesOf(directory, options);
  const own = await modelDigest(base);
  if (adapter === undefined) return own;
  return `${own}+${await filesDigest(adapter, (name) => name === CONFIG || name === WEIGHTS)}`;
}

/**
 * Saves the adapters of a model in PEFT's layout. Every file is replaced atomically, the weights last. Equal parameters give equal
 * bytes.
 *
 * @throws UsageError if the directory holds a whole model, or the tokenizer is missing
 */
export async function saveAdapter(
  directory: string,
  { config, params }: Model,
  { dtype = 'f32', tokenizerFrom }: { dtype?: WeightDtype; tokenizerFrom?: string },
): Promise<void> {
  const { adapter, baseDigest } = config.lora!;
  if (await exists(join(directory, 'config.json')))
    throw new UsageError(`${directory}: holds a whole model; give an adapter a directory of its own`);
  makeDirectory(directory);
  if (tokenizerFrom !== undefined) await copyTokenizer(await tokenizerDirectory(tokenizerFrom), directory);
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  await writeAtomically(join(directory, CONFIG), json(adapter));
  await writeAtomically(join(directory, 'generation_config.json'), json(generationConfig(config)));
  if (baseDigest !== undefined) await writeAtomically(join(directory, BASE), json({ sha256: baseDigest }));
  const tensors = Object.entries(trainedParameters(config)).map(([name, spec]) => {
    const tensor = params[name];
    if (!tensor) throw new UsageError(`${directory}: the model lacks the parameter ${name}`);
    return sourceOf(PEFT_PREFIX + name, tensor, spec);
  });
  await writeSafetensors(join(directory, WEIGHTS), tensors, dtype);
}
