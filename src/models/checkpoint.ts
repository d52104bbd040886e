import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { makeDirectory, writeAtomically } from '../durable.js';
import { brief, UsageError } from '../errors.js';
import { halfOf, shapeOf, unpackHalves } from '../tensor/halves.js';
import type { Params } from '../tensor/params.js';
import { disposeParams } from '../tensor/params.js';
import { endTokens, type Family, type ModelConfig, type ParameterSpec } from './config.js';
import type { ModelDtype } from './dtypes.js';
import { familyOf, parseConfig } from './families.js';
import { exists, readJsonObject } from './files.js';
import { loadTensor, pieceFor } from './loadTensor.js';
import type { Model } from './model.js';
import { type TensorSource, type WeightDtype, writeSafetensors } from './safetensorsWriter.js';
import { hasWeights, openWeights, type Weights } from './weights.js';

/** Everything that a tokenizer may consist of; only tokenizer.json is always there. */
const tokenizerFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
] as const;

/** A head of its own, under this name in every family. */
const HEAD = 'lm_head.weight';

const torchDtype: Record<WeightDtype, string> = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' };

/** The configuration of a model directory, with the end tokens of generation_config.json where it names some. */
export async function loadConfig(directory: string): Promise<ModelConfig> {
  const info = await stat(directory).catch(() => undefined);
  if (!info?.isDirectory()) throw new UsageError(`${directory}: no such model directory`);
  if (await exists(join(directory, 'adapter_config.json'))) {
    throw new UsageError(
      `${directory}: holds an adapter (adapter_config.json), which is not read; merge it into its model and save that`,
    );
  }
  const file = join(directory, 'config.json');
  const plain = parseConfig(await readJsonObject(file), file);
  const generation = join(directory, 'generation_config.json');
  if (!(await exists(generation))) return plain;
  const config = { ...plain, generation: await readJsonObject(generation) };
  const eos = config.generation.eos_token_id;
  if (eos === undefined || eos === null) return config;
  const ids = [eos].flat();
  if (!ids.every((id) => Number.isInteger(id))) {
    throw new UsageError(
      `${generation}: eos_token_id is ${brief(eos)}; expected a token id or a list of them`,
    );
  }
  return { ...config, eosIds: endTokens(ids as number[], config.vocabSize) };
}

/**
 * Loads a model directory in Hugging Face layout: config.json, model.safetensors or its shards. Linear maps are [in, out]. The
 * caller owns the parameters (`disposeParams`).
 *
 * Accepted besides the names that `transformers` writes today: names without the family's prefix, as in checkpoints
 * of the headless model; buffers of old versions, which are ignored; for a tied head either of the two names, or both
 * with the same values (`transformers` 4 drops a head that differs, 5 keeps it: an error here).
 *
 * @param options.dtype what weights are rounded to (to the nearest; what is stored so stays bit for bit), default float32. As bfloat16 or
 *   float16 matrices take half the memory and do not train (tensor/halves.ts); norms and biases take part as float32.
 * @throws UsageError in one line for the first file, field or tensor that is missing, malformed or does not fit
 */
export async function loadModel(
  directory: string,
  options: { dtype?: ModelDtype | undefined } = {},
): Promise<Model> {
  const { dtype = 'float32' } = options;
  const config = await loadConfig(directory);
  const weights = await openWeights(directory);
  const params: Params = {};
  try {
    const specs = familyOf(config).parameters(config);
    const stored = checkWeights(config, weights);
    if (config.tiedHead) await checkTied(weights, stored.get(familyOf(config).embedding)!);
    const piece = pieceFor(specs, dtype);
    for (const [name, spec] of Object.entries(specs)) {
      params[name] = await loadTensor(weights, stored.get(name)!, spec, piece, dtype);
    }
    return { config, params };
  } catch (error) {
    disposeParams(params);
    throw error;
  } finally {
    await weights.close();
  }
}

/**
 * The configuration of a model directory, checked against the headers of its weights where it has any; nothing is loaded.
 *
 * @throws UsageError as `loadModel`, but for values
 */
export async function inspectModel(directory: string): Promise<{ config: ModelConfig; weights: boolean }> {
  const config = await loadConfig(directory);
  if (!(await hasWeights(directory))) return { config, weights: false };
  const weights = await openWeights(directory);
  try {
    checkWeights(config, weights);
    return { config, weights: true };
  } finally {
    await weights.close();
  }
}

/** Where each parameter is stored. Shapes are checked before anything is read: a wrong config.json is told at once. */
function checkWeights(config: ModelConfig, weights: Weights): Map<string, string> {
  const family = familyOf(config);
  const specs = family.parameters(config);
  const stored = matchNames(family, config, specs, weights);
  for (const [name, spec] of Object.entries(specs)) checkShape(weights, stored.get(name)!, spec);
  return stored;
}

/**
 * Saves a model directory in Hugging Face layout, which `transformers` loads. Every file is replaced atomically, the
 * weights last; for a directory that appears all at once, save under a temporary name and rename it. Equal
 * parameters give equal bytes. Weights that another model left in the directory (shards, their index) are removed.
 *
 * @param options.dtype how the weights are stored, default f32
 * @param options.tokenizerFrom a directory whose tokenizer files are copied
 * @throws UsageError if the tokenizer is missing, or a weight is beyond the range of f16
 */
export async function saveModel(
  directory: string,
  model: Model,
  options: { dtype?: WeightDtype; tokenizerFrom?: string } = {},
): Promise<void> {
  const { dtype = 'f32', tokenizerFrom } = options;
  const { config, params } = model;
  makeDirectory(directory);
  if (tokenizerFrom !== undefined) await copyTokenizer(tokenizerFrom, directory);
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  await writeAtomically(join(directory, 'config.json'), json(savedConfig(config, dtype)));
  await writeAtomically(join(directory, 'generation_config.json'), json(generationConfig(config)));
  const tensors: TensorSource[] = [];
  for (const [name, spec] of Object.entries(familyOf(config).parameters(config))) {
    const tensor = params[name];
    if (!tensor) throw new UsageError(`${directory}: the model lacks the parameter ${name}`);
    tensors.push(sourceOf(name, tensor, spec));
  }
  await writeSafetensors(join(directory, 'model.safetensors'), tensors, dtype);
  await removeOlderWeights(directory);
}

/** Shards and their index of a model that was here before: other loaders would read them instead of what was saved. */
async function removeOlderWeights(directory: string): Promise<void> {
  const older =
    /^(model\.safetensors\.index\.json|model-\d{5}-of-\d{5}\.safetensors|pytorch_model.*\.bin(\.index\.json)?)$/;
  const names = (await readdir(directory)).filter((name) => older.test(name));
  // The index first: without it the shards are nobody's.
  for (const name of names.sort((a, b) => Number(b.includes('index')) - Number(a.includes('index'))))
    await rm(join(directory, name), { force: true });
}

/** For every parameter the name under which the checkpoint holds it. */
function matchNames(
  family: Family,
  config: ModelConfig,
  specs: Record<string, ParameterSpec>,
  weights: Weights,
): Map<string, string> {
  const stored = new Map<string, string>();
  const unknown = new Set(weights.names());
  for (const name of Object.keys(specs)) {
    const short = name.startsWith(family.prefix) ? name.slice(family.prefix.length) : name;
    const tied = config.tiedHead && name === family.embedding ? [HEAD] : [];
    const found = [name, short, ...tied].find((candidate) => unknown.has(candidate));
    if (found === undefined) {
      throw new UsageError(
        `${weights.where}: no tensor ${JSON.stringify(name)}, which config.json calls for`,
      );
    }
    stored.set(name, found);
    unknown.delete(found);
    if (tied.length > 0) unknown.delete(HEAD);
  }
  for (const name of unknown) {
    if (family.buffers.test(name)) continue;
    // Left out silently, it would make another model than the one that was saved.
    throw new UsageError(
      `${weights.where}: unexpected tensor ${JSON.stringify(name.slice(0, 120))}; a ${config.family} model of this config.json has none`,
    );
  }
  return stored;
}

/** A head that lies beside the embedding it is tied to must be the same. */
async function checkTied(weights: Weights, embedding: string): Promise<void> {
  if (embedding === HEAD || ![...weights.names()].includes(HEAD)) return;
  const [rows, width] = weights.shape(embedding) as [number, number];
  let same = weights.shape(HEAD).join() === `${rows},${width}`;
  const step = Math.max(1, Math.floor((1 << 20) / width));
  for (let row = 0; row < rows && same; row += step) {
    const size = Math.min(step, rows - row) * width;
    const [a, b] = [new Float32Array(size), new Float32Array(size)];
    await weights.file(embedding).readRows(embedding, row, a);
    await weights.file(HEAD).readRows(HEAD, row, b);
    same = a.every((x, i) => x === b[i]);
  }
  if (same) return;
  throw new UsageError(
    `${weights.where}: ${HEAD} differs from ${embedding}, and tie_word_embeddings in config.json makes them one; set it to false, or remove ${HEAD}`,
  );
}

function checkShape(weights: Weights, name: string, { shape, transposed }: ParameterSpec): void {
  const expected = transposed ? [...shape].reverse() : shape;
  const found = weights.shape(name);
  if (found.length === expected.length && found.every((n, axis) => n === expected[axis])) return;
  throw new UsageError(
    `${weights.where}: tensor ${JSON.stringify(name)} has shape [${found.join(', ')}], config.json asks for [${expected.join(', ')}]`,
  );
}

function sourceOf(name: string, tensor: tf.Tensor, { transposed }: ParameterSpec): TensorSource {
  const shape = transposed ? [...shapeOf(tensor)].reverse() : shapeOf(tensor);
  const data = async (): Promise<Float32Array> => {
    const half = halfOf(tensor);
    const values = half && unpackHalves(await tensor.data<'int32'>(), half.shape[1], half.dtype);
    if (!transposed) return values ?? tensor.data<'float32'>();
    const stored = tf.tidy(() => tf.transpose(half ? tf.tensor2d(values!, half.shape) : tensor));
    try {
      return await stored.data<'float32'>();
    } finally {
      stored.dispose();
    }
  };
  return { name, shape, data };
}

/** config.json as it was read; only how the weights are stored has changed, and what they were stored as is gone. */
function savedConfig(config: ModelConfig, dtype: WeightDtype): Record<string, unknown> {
  const { dtype: _newName, torch_dtype: _oldName, ...rest } = config.hf;
  return { ...rest, architectures: [familyOf(config).architecture], torch_dtype: torchDtype[dtype] };
}

/** generation_config.json as it was read, with the special tokens as they are. */
function generationConfig({ bosId, eosIds, hf, generation }: ModelConfig): Record<string, unknown> {
  return {
    ...(generation ?? { _from_model_config: true }),
    ...(bosId !== undefined && { bos_token_id: bosId }),
    ...(eosIds.length > 0 && { eos_token_id: eosIds.length === 1 ? eosIds[0] : eosIds }),
    ...(typeof hf.pad_token_id === 'number' && { pad_token_id: hf.pad_token_id }),
  };
}

async function copyTokenizer(from: string, to: string): Promise<void> {
  if (!(await exists(join(from, 'tokenizer.json')))) {
    throw new UsageError(`${from}: no tokenizer.json to copy beside the saved model`);
  }
  for (const name of tokenizerFiles) {
    const source = join(from, name);
    const target = join(to, name);
    if (!(await exists(source))) continue;
    // Written, not copied: a read-only source would leave a file that the next save cannot replace.
    const bytes = await readFile(source);
    await writeAtomically(target, (handle) => handle.writeFile(bytes));
  }
}
