import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { writeAtomically } from '../durable.js';
import { brief, UsageError } from '../errors.js';
import { halfOf, shapeOf, unpackHalves } from '../tensor/halves.js';
import { endTokens, type ModelConfig, type ParameterSpec } from './config.js';
import { exists, readJsonObject } from './files.js';
import type { TensorSource } from './safetensorsWriter.js';
import type { Weights } from './weights.js';

/* What a model directory and the directory of an adapter have in common: parameters in a file, end tokens, a tokenizer. */

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

/** The configuration with the end tokens of the directory's generation_config.json, where it names some. */
export async function withGeneration(plain: ModelConfig, directory: string): Promise<ModelConfig> {
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

/** @throws UsageError if a tensor of a file is not of the shape that the configuration asks for */
export function checkShape(
  weights: Weights,
  name: string,
  { shape, transposed }: ParameterSpec,
  asking = 'config.json',
): void {
  const expected = transposed ? [...shape].reverse() : shape;
  const found = weights.shape(name);
  if (found.length === expected.length && found.every((n, axis) => n === expected[axis])) return;
  throw new UsageError(
    `${weights.where}: tensor ${JSON.stringify(name)} has shape [${found.join(', ')}], ${asking} asks for [${expected.join(', ')}]`,
  );
}

/** A parameter as its file holds it. */
export function sourceOf(name: string, tensor: tf.Tensor, { transposed }: ParameterSpec): TensorSource {
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

/** generation_config.json as it was read, with the special tokens as they are. */
export function generationConfig({ bosId, eosIds, hf, generation }: ModelConfig): Record<string, unknown> {
  return {
    ...(generation ?? { _from_model_config: true }),
    ...(bosId !== undefined && { bos_token_id: bosId }),
    ...(eosIds.length > 0 && { eos_token_id: eosIds.length === 1 ? eosIds[0] : eosIds }),
    ...(typeof hf.pad_token_id === 'number' && { pad_token_id: hf.pad_token_id }),
  };
}

/** @throws UsageError if there is no tokenizer in `from` */
export async function copyTokenizer(from: string, to: string): Promise<void> {
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
