/**
 * The two models of the language: a teacher that is exactly the language, its weights written down, and a student whose memory is
 * shorter than the way to the key.
 */
import * as tf from '@tensorflow/tfjs-core';
import { newModelConfig, parseConfig } from '../../../src/models/families.js';
import { initModel, type Model } from '../../../src/models/model.js';
import type { Params } from '../../../src/tensor/params.js';
import { type Language, tables } from './language.js';

/** Attention scores of the key over those of all other words: e^−40 of the mass goes astray. */
const SHARPNESS = 40;
/** The ids of the first two words. */
const special = { eosId: 0, padId: 1 };

/**
 * A LLaMA of one layer, made by hand. The residual stream has a coordinate for each word (its embedding) and one for each key. Every
 * position attends to the key of the prompt, in the pair of rotary coordinates that turns slowest, and the head copies which key it is;
 * the feed-forward part is 0. After the last norm, whose scale is the same everywhere behind the key, the head of the model adds the
 * two tables of the language.
 */
export function teacherOf(language: Language): Model {
  const { words, keys } = language;
  const vocabSize = words.length;
  const width = 16 * Math.ceil((vocabSize + keys) / 16);
  const fresh = newModelConfig('llama', {
    ...{ vocabSize, hiddenSize: width, layers: 1, heads: 1, intermediateSize: 16 },
    ...{ maxPositions: 128, tiedHead: false, ...special },
  });
  const config = parseConfig({ ...fresh.hf, rope_theta: 1e12, rms_norm_eps: 1e-12 }, 'the teacher');
  const model = initModel(config, 0);
  const at = 'model.layers.0';
  const firstKey = words.indexOf('k1');
  // An embedding has one 1: the norm makes it sqrt(width). The key's copy beside it halves the square.
  const [one, both] = [Math.sqrt(width), Math.sqrt(width / 2)];
  const slow = width / 2 - 1;
  const sharp = Math.sqrt(SHARPNESS * one) / one;
  const { follows, favours } = tables(language);
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const entries: Record<string, [row: number, column: number, value: number][]> = {
    'model.embed_tokens.weight': range(vocabSize).map((v) => [v, v, 1]),
    [`${at}.self_attn.q_proj.weight`]: range(vocabSize).map((v) => [v, slow, sharp]),
    [`${at}.self_attn.k_proj.weight`]: range(keys).map((k) => [firstKey + k, slow, sharp]),
    [`${at}.self_attn.v_proj.weight`]: range(keys).map((k) => [firstKey + k, k, 1 / one]),
    [`${at}.self_attn.o_proj.weight`]: range(keys).map((k) => [k, vocabSize + k, 1]),
    [`${at}.mlp.gate_proj.weight`]: [],
    [`${at}.mlp.up_proj.weight`]: [],
    [`${at}.mlp.down_proj.weight`]: [],
    'lm_head.weight': [
      ...follows.flatMap((row, v) => [...row].map((x, next) => [v, next, x / both] as const)),
      ...favours.flatMap((row, k) => [...row].map((x, next) => [vocabSize + k, next, x / both] as const)),
    ].map(([row, column, value]) => [row, column, value]),
  };
  for (const [name, list] of Object.entries(entries)) fill(model.params, name, list);
  return model;
}

/** A Mistral of one layer that sees its last three words: at the first question the key is out of sight. */
export function studentOf(
  language: Language,
  { width, inner }: { width: number; inner: number },
  seed: number,
): Model {
  const fresh = newModelConfig('mistral', {
    ...{ vocabSize: language.words.length, hiddenSize: width, layers: 1, heads: 1 },
    ...{ intermediateSize: inner, maxPositions: 128, tiedHead: true, ...special },
  });
  return initModel(parseConfig({ ...fresh.hf, sliding_window: 3 }, 'the student'), seed);
}

function fill(params: Params, name: string, entries: readonly [number, number, number][]): void {
  const { shape } = params[name]!;
  const data = new Float32Array(shape[0]! * shape[1]!);
  for (const [row, column, value] of entries) data[row * shape[1]! + column] = value;
  params[name]!.dispose();
  params[name] = tf.tensor(data, shape);
}
