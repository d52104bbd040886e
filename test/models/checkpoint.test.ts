import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { loadModel, saveModel } from '../../src/models/checkpoint.js';
import { gpt2Config, llamaConfig } from '../../src/models/families.js';
import { initModel, type Model } from '../../src/models/model.js';
import { type NamedArray, SafetensorsFile } from '../../src/models/safetensors.js';
import { writeSafetensors } from '../../src/models/safetensorsWriter.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { initBackend } from '../../src/tensor/backend.js';
import { halfOf } from '../../src/tensor/halves.js';
import { disposeParams } from '../../src/tensor/params.js';
import {
  type ExpectedGrads,
  fixtureDir,
  fixtureNames,
  maxDifference,
  readExpected,
  slowGreedy,
  tinystories,
  tinystoriesAbsent,
} from './fixtures.js';

await initBackend({ backend: 'cpu' });

const root = mkdtempSync(join(tmpdir(), 'minillm-checkpoint-'));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
const freshDir = () => join(root, String(count++));

/** A copy of a fixture to spoil. */
function copyOf(name: string): string {
  const directory = freshDir();
  cpSync(`${fixtureDir}${name}`, directory, { recursive: true });
  return directory;
}

async function readTensors(file: string): Promise<NamedArray[]> {
  const opened = await SafetensorsFile.open(file);
  const tensors: NamedArray[] = [];
  for (const name of opened.entries.keys()) tensors.push(await opened.read(name));
  await opened.close();
  return tensors;
}

async function rewrite(directory: string, change: (tensors: NamedArray[]) => NamedArray[]): Promise<void> {
  const file = join(directory, 'model.safetensors');
  await writeSafetensors(file, change(await readTensors(file)));
}

const rename = (from: RegExp, to: string) => (tensors: NamedArray[]) =>
  tensors.map((t) => ({ ...t, name: t.name.replace(from, to) }));
const buffer = (name: string): NamedArray => ({ name, shape: [1], data: Float32Array.of(1) });
const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

async function loses(directory: string): Promise<string> {
  const before = tf.memory().numTensors;
  const error = await loadModel(directory).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(UsageError);
  expect(tf.memory().numTensors).toBe(before); // what was read before the failure is freed
  const { message } = error as UsageError;
  expect(message).not.toContain('\n');
  expect(message).toContain(directory);
  return message;
}

/** Loads, scores the fixture's third sequence, and frees. */
async function scores(directory: string, ids: number[]): Promise<Float32Array> {
  const model = await loadModel(directory);
  const [result] = scoreTokens(model, [Int32Array.from(ids)]);
  disposeParams(model.params);
  return result!;
}

describe('saving and loading', () => {
  it.each(fixtureNames)(
    '%s: saved again, the weights are the bytes that the safetensors library wrote',
    async (name) => {
      const model = await loadModel(`${fixtureDir}${name}`);
      const directory = freshDir();
      await saveModel(directory, model);
      disposeParams(model.params);
      const bytes = readFileSync(join(directory, 'model.safetensors'));
      expect(bytes.equals(readFileSync(`${fixtureDir}${name}/model.safetensors`))).toBe(true);
      expect(readdirSync(directory).sort()).toEqual([
        'config.json',
        'generation_config.json',
        'model.safetensors',
      ]);
    },
  );

  it.each(fixtureNames)('%s: in f16 and bf16 too', async (name) => {
    const { sha256: expected } = readExpected<ExpectedGrads>(`${name}/expected.json`);
    const model = await loadModel(`${fixtureDir}${name}`);
    for (const dtype of ['f16', 'bf16'] as const) {
      const directory = freshDir();
      await saveModel(directory, model, { dtype });
      expect(sha256(join(directory, 'model.safetensors')), dtype).toBe(expected[dtype]);
    }
    disposeParams(model.params);
  });

  it.each([
    ['f16', 'float16', 0.02],
    ['bf16', 'bfloat16', 0.2],
  ] as const)(
    '%s: says so in config.json, halves the file, and saves the rounded values unchanged',
    async (dtype, torchName, tolerance) => {
      const { sequences, logprobs } = readExpected('llama-tied/expected.json');
      const [first, second] = [freshDir(), freshDir()];
      const model = await loadModel(`${fixtureDir}llama-tied`);
      await saveModel(first, model, { dtype });
      disposeParams(model.params);
      const rounded = await loadModel(first);
      await saveModel(second, rounded, { dtype });
      disposeParams(rounded.params);
      expect(sha256(join(second, 'model.safetensors'))).toBe(sha256(join(first, 'model.safetensors')));
      expect(JSON.parse(readFileSync(join(first, 'config.json'), 'utf8'))).toMatchObject({
        torch_dtype: torchName,
        vocab_size: 67,
      });
      const difference = maxDifference(await scores(first, sequences[2]!), logprobs[2]!);
      expect(difference).toBeGreaterThan(1e-4);
      expect(difference).toBeLessThan(tolerance);
    },
  );

  it.each(fixtureNames)(
    '%s: kept in 16 bits as in the file, scores and continues as float32 does',
    async (name) => {
      const { sequences } = readExpected(`${name}/expected.json`);
      const rows = sequences.map((ids) => Int32Array.from(ids));
      for (const [stored, dtype] of [['f16', 'float16'] as const, ['bf16', 'bfloat16'] as const]) {
        const [first, second] = [freshDir(), freshDir()];
        const given = await loadModel(`${fixtureDir}${name}`);
        await saveModel(first, given, { dtype: stored });
        disposeParams(given.params);
        const full = await loadModel(first);
        const half = await loadModel(first, { dtype });
        const matrices = Object.values(full.params).filter(({ rank }) => rank === 2).length;
        expect(Object.values(half.params).filter((tensor) => halfOf(tensor)?.dtype === dtype)).toHaveLength(
          matrices,
        );
        expect(scoreTokens(half, rows)).toEqual(scoreTokens(full, rows));
        const prompt = Array.from(rows[0]!.slice(0, 3));
        expect(slowGreedy(half, prompt, 4)).toEqual(slowGreedy(full, prompt, 4));
        await saveModel(second, half, { dtype: stored });
        expect(sha256(join(second, 'model.safetensors'))).toBe(sha256(join(first, 'model.safetensors')));
        disposeParams(full.params);
        disposeParams(half.params);
      }
    },
  );

  it('keeps the fields of config.json and the end tokens', async () => {
    const source = copyOf('llama-tied');
    writeFileSync(join(source, 'generation_config.json'), '{"eos_token_id": [5, 3, 67], "top_k": 20}');
    const model = await loadModel(source);
    disposeParams(model.params);
    expect(model.config.eosIds).toEqual([5, 3]); // generation_config.json decides; 67 is beyond the vocabulary
    const fresh = initModel({ ...model.config, layers: 1 }, 1);
    const directory = freshDir();
    await saveModel(directory, fresh);
    disposeParams(fresh.params);
    const saved = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8'));
    expect(saved).toMatchObject({
      head_dim: 10,
      rope_parameters: { rope_type: 'default' },
      eos_token_id: [2, 3],
    });
    expect(saved).not.toHaveProperty('dtype');
    expect(JSON.parse(readFileSync(join(directory, 'generation_config.json'), 'utf8'))).toEqual({
      bos_token_id: 1,
      eos_token_id: [5, 3],
      top_k: 20,
    });
  });

  it('copies the tokenizer, and misses it by name', async () => {
    const from = freshDir();
    mkdirSync(from);
    writeFileSync(join(from, 'tokenizer.json'), '{}');
    writeFileSync(join(from, 'merges.txt'), 'a b');
    writeFileSync(join(from, 'notes.txt'), 'no part of a tokenizer');
    const model = initModel(
      llamaConfig({ vocabSize: 8, hiddenSize: 8, layers: 1, heads: 2, maxPositions: 8 }),
      1,
    );
    const directory = freshDir();
    await saveModel(directory, model, { tokenizerFrom: from });
    expect(readFileSync(join(directory, 'merges.txt'), 'utf8')).toBe('a b');
    expect(existsSync(join(directory, 'notes.txt'))).toBe(false);
    await expect(saveModel(freshDir(), model, { tokenizerFrom: root })).rejects.toThrow(
      `${root}: no tokenizer.json to copy`,
    );
    disposeParams(model.params);
  });

  it('replaces what was there: older shards and their index go, and read-only files of the source do not stay so', async () => {
    const from = freshDir();
    mkdirSync(from);
    writeFileSync(join(from, 'tokenizer.json'), '{}', { mode: 0o444 });
    const config = llamaConfig({ vocabSize: 8, hiddenSize: 8, layers: 1, heads: 2, maxPositions: 8 });
    const model = initModel(config, 1);
    const directory = freshDir();
    mkdirSync(directory);
    const older = ['model.safetensors.index.json', 'model-00001-of-00002.safetensors', 'pytorch_model.bin'];
    for (const name of [...older, 'README.md']) writeFileSync(join(directory, name), 'older');
    await saveModel(directory, model, { tokenizerFrom: from });
    expect(readdirSync(directory).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    expect(statSync(join(directory, 'tokenizer.json')).mode & 0o200).toBe(0o200);
    disposeParams(model.params);
  });

  it('reads files with a byte-order mark, and knows a Git LFS pointer', async () => {
    const config = llamaConfig({ vocabSize: 8, hiddenSize: 8, layers: 1, heads: 2, maxPositions: 8 });
    const model = initModel(config, 1);
    const directory = freshDir();
    await saveModel(directory, model);
    disposeParams(model.params);
    const file = join(directory, 'config.json');
    writeFileSync(file, `\uFEFF${readFileSync(file, 'utf8')}`);
    const again = await loadModel(directory);
    expect(again.config.hiddenSize).toBe(8);
    disposeParams(again.params);
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n';
    writeFileSync(join(directory, 'model.safetensors'), pointer);
    expect(await loses(directory)).toContain('a Git LFS pointer, not the file itself');
    writeFileSync(file, pointer);
    expect(await loses(directory)).toContain('a Git LFS pointer, not the file itself');
  });

  it.skipIf(tinystoriesAbsent)(
    `a tied checkpoint that names its embedding lm_head.weight (${tinystoriesAbsent ?? 'tinystories-656k'})`,
    async () => {
      const model = await loadModel(tinystories);
      const directory = freshDir();
      await saveModel(directory, model);
      disposeParams(model.params);
      const names = (await readTensors(join(directory, 'model.safetensors'))).map((t) => t.name);
      expect(names).toContain('model.embed_tokens.weight');
      expect(names).not.toContain('lm_head.weight');
    },
  );
});

describe('new models', () => {
  // The log-probabilities are what transformers 5.18.0 printed for these directories (make.py --score DIR); the sums
  // were taken of the same files.
  const shape = { vocabSize: 40, hiddenSize: 16, layers: 2, heads: 4, maxPositions: 12, bosId: 1, eosId: 2 };
  const cases: [string, () => Model, string, number[]][] = [
    [
      'llama',
      () =>
        initModel(
          { ...llamaConfig({ ...shape, kvHeads: 2, tiedHead: false, ropeTheta: 100 }), initStd: 0.5 },
          7,
        ),
      '13c1549177b7409f2abf653758313ffe949d3afd51cc305eb4cfb38dabd86e78',
      [-3.338585, -6.671849, -4.022572, -5.312123, -6.818894],
    ],
    [
      'gpt2',
      () => initModel({ ...gpt2Config(shape), initStd: 0.5 }, 7),
      '362a3669eb6e7cc9d303591ae50d7850ad568128431fb04eb2aa114a876c73b6',
      [-4.655212, -4.317542, -6.520216, -8.109175, -4.75865],
    ],
  ];
  it.each(cases)(
    '%s: the same bytes from the same seed, read by transformers as meant',
    async (_, make, sum, logprobs) => {
      const model = make();
      const directory = freshDir();
      await saveModel(directory, model);
      disposeParams(model.params);
      expect(maxDifference(await scores(directory, [1, 5, 3, 8, 2, 7]), logprobs)).toBeLessThan(1e-4);
      expect(sha256(join(directory, 'model.safetensors'))).toBe(sum);
    },
  );
});

describe('names in checkpoints', () => {
  const same = async (name: string, directory: string) => {
    const { sequences, logprobs } = readExpected(`${name}/expected.json`);
    expect(maxDifference(await scores(directory, sequences[2]!), logprobs[2]!)).toBeLessThan(1e-4);
  };

  it('GPT-2 without the prefix, with the buffers of old versions', async () => {
    const directory = copyOf('gpt2');
    await rewrite(directory, (tensors) => [
      ...rename(/^transformer\./, '')(tensors),
      ...['h.0.attn.bias', 'h.1.attn.masked_bias'].map(buffer),
    ]);
    await same('gpt2', directory);
  });

  it('LLaMA without the prefix, with rotary buffers', async () => {
    const directory = copyOf('llama-untied');
    await rewrite(directory, (tensors) => [
      ...rename(/^model\./, '')(tensors),
      ...['model.layers.0.self_attn.rotary_emb.inv_freq'].map(buffer),
    ]);
    await same('llama-untied', directory);
  });

  it('a tied head stored too, or instead of the embedding', async () => {
    const both = copyOf('gpt2');
    await rewrite(both, (tensors) => [
      ...tensors,
      ...tensors
        .filter((t) => t.name === 'transformer.wte.weight')
        .map((t) => ({ ...t, name: 'lm_head.weight' })),
    ]);
    await same('gpt2', both);
    await rewrite(both, (tensors) =>
      tensors.map((t) => (t.name === 'lm_head.weight' ? { ...t, data: t.data.map((x) => x + 1) } : t)),
    );
    expect(await loses(both)).toContain(
      'lm_head.weight differs from transformer.wte.weight, and tie_word_embeddings in config.json makes them one',
    );
    const instead = copyOf('llama-tied');
    await rewrite(instead, rename(/^model\.embed_tokens\.weight$/, 'lm_head.weight'));
    await same('llama-tied', instead);
  });

  it('shards with an index', async () => {
    const directory = copyOf('gpt2');
    const tensors = await readTensors(join(directory, 'model.safetensors'));
    rmSync(join(directory, 'model.safetensors'));
    const map: Record<string, string> = {};
    for (const [i, part] of [tensors.slice(0, 9), tensors.slice(9)].entries()) {
      const shard = `model-0000${i + 1}-of-00002.safetensors`;
      await writeSafetensors(join(directory, shard), part);
      for (const { name } of part) map[name] = shard;
    }
    const index = (weight_map: unknown) =>
      writeFileSync(
        join(directory, 'model.safetensors.index.json'),
        JSON.stringify({ metadata: {}, weight_map }),
      );
    index(map);
    await same('gpt2', directory);

    index({
      ...map,
      'transformer.wte.weight': 'model-00001-of-00002.safetensors',
      extra: 'model-00002-of-00002.safetensors',
    });
    expect(await loses(directory)).toContain('no tensor "');
    index({ ...map, 'transformer.wte.weight': '../elsewhere.safetensors' });
    expect(await loses(directory)).toContain('places "transformer.wte.weight" in "../elsewhere.safetensors"');
    index({ ...map, 'transformer.wte.weight': 'gone.safetensors' });
    expect(await loses(directory)).toContain('gone.safetensors: no such file');
    index({ ...map, 'transformer.wte.weight': 7 });
    expect(await loses(directory)).toContain('expected a .safetensors file of this directory');
    index([]);
    expect(await loses(directory)).toContain('weight_map is missing');
  });

  it('says what is missing, left over or of another shape', async () => {
    const without = copyOf('gpt2');
    await rewrite(without, (tensors) => tensors.filter((t) => t.name !== 'transformer.h.1.ln_2.bias'));
    expect(await loses(without)).toContain(
      'model.safetensors: no tensor "transformer.h.1.ln_2.bias", which config.json calls for',
    );

    const more = copyOf('gpt2');
    await rewrite(more, (tensors) => [...tensors, buffer('transformer.h.2.ln_1.weight')]);
    expect(await loses(more)).toContain('unexpected tensor "transformer.h.2.ln_1.weight"');

    const wide = copyOf('llama-untied');
    await rewrite(wide, (tensors) =>
      tensors.map((t) => (t.name === 'lm_head.weight' ? { ...t, shape: [24, 61] } : t)),
    );
    expect(await loses(wide)).toContain(
      'tensor "lm_head.weight" has shape [24, 61], config.json asks for [61, 24]',
    );

    const spoilt = copyOf('llama-tied');
    await rewrite(spoilt, (tensors) => {
      tensors[3]!.data[2] = Number.NaN;
      return tensors;
    });
    expect(await loses(spoilt)).toContain('holds NaN at element 2');
  });

  it('says which file is missing or malformed', async () => {
    const absent = join(root, 'absent');
    expect(await loses(absent)).toContain('no such model directory');
    const empty = freshDir();
    mkdirSync(empty);
    expect(await loses(empty)).toContain('config.json: no such file');
    writeFileSync(join(empty, 'adapter_config.json'), '{}');
    expect(await loses(empty)).toContain('adapter_config.json: names no base');
    const directory = copyOf('gpt2');
    rmSync(join(directory, 'model.safetensors'));
    expect(await loses(directory)).toContain('no model.safetensors and no model.safetensors.index.json');
    writeFileSync(join(directory, 'pytorch_model.bin'), '');
    expect(await loses(directory)).toContain('pytorch_model.bin is not read: convert it');
    writeFileSync(join(directory, 'generation_config.json'), '{"eos_token_id": "</s>"}');
    expect(await loses(directory)).toContain('generation_config.json: eos_token_id is "</s>"');
    writeFileSync(join(directory, 'generation_config.json'), 'eos');
    expect(await loses(directory)).toContain('generation_config.json: not valid JSON');
    writeFileSync(join(directory, 'config.json'), '[]');
    expect(await loses(directory)).toContain('config.json: expected a JSON object');
  });
});
