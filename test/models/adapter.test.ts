import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it, vi } from 'vitest';
import { baseSource } from '../../src/models/adapter.js';
import { loadModel, saveModel } from '../../src/models/checkpoint.js';
import { addLora } from '../../src/models/lora.js';
import type { LoraOptions } from '../../src/models/loraTargets.js';
import { disposeModel, type Model } from '../../src/models/model.js';
import { type NamedArray, SafetensorsFile } from '../../src/models/safetensors.js';
import { writeSafetensors } from '../../src/models/safetensorsWriter.js';
import { initBackend } from '../../src/tensor/backend.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { fixtureDir } from './fixtures.js';
import { adapterDir, adapterNames, expectedOf, logprobsOf } from './lora.suite.js';

await initBackend({ backend: 'cpu' });

const place = temporaryFolder('adapter');
let count = 0;

type Json = Record<string, unknown>;

/** A copy of an adapter of PEFT's that names its base by the whole path. */
function copyOf(name: string, change: Json = {}): string {
  const directory = join(place, String(count++));
  cpSync(adapterDir + name, directory, { recursive: true });
  const file = join(directory, 'adapter_config.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as Json;
  writeFileSync(file, JSON.stringify({ ...json, base_model_name_or_path: fixtureDir + name, ...change }));
  return directory;
}

async function tensorsOf(directory: string): Promise<NamedArray[]> {
  const file = await SafetensorsFile.open(join(directory, 'adapter_model.safetensors'));
  const all: NamedArray[] = [];
  for (const name of file.entries.keys()) all.push(await file.read(name));
  await file.close();
  return all;
}

async function withTensors(name: string, change: (all: NamedArray[]) => NamedArray[]): Promise<string> {
  const directory = copyOf(name);
  await writeSafetensors(join(directory, 'adapter_model.safetensors'), change(await tensorsOf(directory)));
  return directory;
}

/** What loading says, after a look that nothing is left in memory. */
async function refusal(directory: string, adapter?: string): Promise<string> {
  const before = tf.memory().numTensors;
  const line = await loadModel(directory, { adapter }).then(
    (model) => {
      disposeModel(model);
      return 'loaded';
    },
    (error: Error) => `${error.constructor.name}: ${error.message}`,
  );
  expect(tf.memory().numTensors).toBe(before);
  expect(line.split('\n')).toHaveLength(1);
  return line.replace(/^UsageError: /, '');
}

describe('an adapter_config.json that would be another model is refused by name', () => {
  const shared = 'only plain LoRA is supported (docs/lora.md)';
  it.each<[string, Json, string]>([
    ['gpt2', { use_dora: true }, `adapter_config.json: "use_dora" is true; ${shared}`],
    ['gpt2', { layers_to_transform: [0] }, `"layers_to_transform" is [0]; ${shared}`],
    ['gpt2', { lora_bias: true }, '"lora_bias" is true'],
    ['gpt2', { exclude_modules: ['c_fc'] }, '"exclude_modules" is ["c_fc"]'],
    ['gpt2', { trainable_token_indices: [1] }, '"trainable_token_indices" is [1]'],
    ['gpt2', { something_new: { a: 1 } }, '"something_new" is'],
    ['gpt2', { bias: 'all' }, 'bias is "all"; only none is supported'],
    ['gpt2', { peft_type: 'IA3' }, 'peft_type is "IA3"; only LORA is supported'],
    ['gpt2', { task_type: 'SEQ_CLS' }, 'task_type is "SEQ_CLS"; only CAUSAL_LM is supported'],
    ['gpt2', { init_lora_weights: 'pissa' }, 'init_lora_weights is "pissa"; another one changes the base'],
    ['gpt2', { r: 0 }, 'adapter_config.json: r is 0'],
    ['gpt2', { r: 'many' }, 'adapter_config.json: r is "many"'],
    ['gpt2', { lora_alpha: null }, 'lora_alpha is null'],
    [
      'gpt2',
      { rank_pattern: { '^h.*c_fc$': 8 } },
      'expected names of modules or ends of them, no regular expressions',
    ],
    ['gpt2', { target_modules: [] }, 'target_modules is []'],
    [
      'gpt2',
      { target_modules: ['q_proj'] },
      'target_modules: "q_proj" is no part of it; linear maps of this gpt2 model: c_attn, c_proj, c_fc',
    ],
    [
      'gpt2',
      { target_modules: ['c_attn', 'wte'] },
      '"wte" is no linear map inside the network and gets no adapter',
    ],
    ['gpt2', { target_modules: ['lm_head'] }, '"lm_head" is no linear map inside the network'],
    ['gpt2', { modules_to_save: ['wte'] }, 'transformer.wte is tied to the output head'],
    ['gpt2', { modules_to_save: ['score'] }, 'no module of this gpt2 model is called "score"'],
    ['gpt2', { modules_to_save: ['c_fc'] }, 'c_fc is saved whole and has an adapter as well'],
    ['qwen2', { ensure_weight_tying: true }, '"ensure_weight_tying" is true'],
    [
      'gpt2',
      { base_model_name_or_path: null },
      'names no base (base_model_name_or_path); give the base as the model and --adapter',
    ],
    [
      'gpt2',
      { base_model_name_or_path: 'no/where' },
      'its base "no/where" is no directory here and not in the cache of the hub',
    ],
    ['gpt2', { base_model_name_or_path: `${adapterDir}qwen2` }, 'is an adapter itself; merge that first'],
    [
      'gpt2',
      { base_model_name_or_path: adapterDir },
      'holds no config.json; give the base as the model and --adapter for this directory',
    ],
    [
      'gpt2',
      { base_model_name_or_path: `${fixtureDir}llama-tied` },
      '"transformer.h.1.attn.c_proj" is no part of it',
    ],
  ])('%s %j', async (name, change, line) => {
    expect(await refusal(copyOf(name, change))).toContain(line);
  });

  it('broken JSON, and an adapter beside an adapter', async () => {
    const broken = copyOf('gpt2');
    writeFileSync(join(broken, 'adapter_config.json'), '{"r": 4');
    expect(await refusal(broken)).toContain('adapter_config.json: not valid JSON');
    expect(await refusal(`${adapterDir}gpt2`, `${adapterDir}gpt2`)).toContain('holds an adapter itself');
    expect(await refusal(`${fixtureDir}gpt2`, `${fixtureDir}qwen2`)).toContain(
      'no adapter (adapter_config.json)',
    );
  });
});

describe('an adapter_model.safetensors that does not fit is refused by name', () => {
  const A = 'base_model.model.transformer.h.1.mlp.c_fc.lora_A.weight';
  it('missing, cut off, of another kind', async () => {
    const none = copyOf('gpt2');
    rmSync(join(none, 'adapter_model.safetensors'));
    expect(await refusal(none)).toContain('adapter_model.safetensors: no such file');
    writeFileSync(join(none, 'adapter_model.bin'), 'x');
    expect(await refusal(none)).toContain('adapter_model.bin is not read');
    const cut = copyOf('gpt2');
    truncateSync(join(cut, 'adapter_model.safetensors'), 5000);
    expect(await refusal(cut)).toContain('adapter_model.safetensors: ');
  });

  it('a tensor less, more, of another shape, or not finite', async () => {
    expect(await refusal(await withTensors('gpt2', (all) => all.filter(({ name }) => name !== A)))).toContain(
      `no tensor "${A}", which adapter_config.json calls for`,
    );
    const more = { name: 'base_model.model.lm_head.lora_A.weight', shape: [1, 1], data: Float32Array.of(1) };
    expect(await refusal(await withTensors('gpt2', (all) => [...all, more]))).toContain(
      'unexpected tensor "base_model.model.lm_head.lora_A.weight"',
    );
    const turned = await withTensors('gpt2', (all) =>
      all.map((x) => (x.name === A ? { ...x, shape: [...x.shape].reverse() } : x)),
    );
    expect(await refusal(turned)).toContain(`"${A}" has shape [24, 4], adapter_config.json asks for [4, 24]`);
    expect(await refusal(copyOf('gpt2', { r: 5 }))).toContain(
      'has shape [4, 24], adapter_config.json asks for [5, 24]',
    );
    const broken = await withTensors('gpt2', (all) =>
      all.map((x) => (x.name === A ? { ...x, data: x.data.map((v, i) => (i === 30 ? Number.NaN : v)) } : x)),
    );
    expect(await refusal(broken)).toContain(`"${A}" holds NaN at element 30`);
  });
});

describe('what is written is what PEFT wrote', () => {
  it.each(adapterNames)('%s: the same tensors, and a base.json that holds to the base', async (name) => {
    const model = await loadModel(adapterDir + name);
    const directory = join(place, String(count++));
    await saveModel(directory, model);
    const [own, theirs] = [await tensorsOf(directory), await tensorsOf(adapterDir + name)];
    expect(own).toEqual(theirs);
    const json = (at: string) => JSON.parse(readFileSync(join(at, 'adapter_config.json'), 'utf8')) as Json;
    expect(json(directory)).toEqual(json(adapterDir + name));
    disposeModel(model);
  });

  const options: LoraOptions = { rank: 4, alpha: 6, targets: 'all-linear', modulesToSave: [], rslora: false };

  it('a new adapter has the names, shapes and fields of one of PEFT’s', async () => {
    const model = addLora(await loadModel(`${fixtureDir}gpt2`), options, { name: `${fixtureDir}gpt2` }, 1);
    const directory = join(place, String(count++));
    await saveModel(directory, model);
    const shapes = (all: NamedArray[]) => all.map(({ name, shape }) => [name, [...shape]]);
    expect(shapes(await tensorsOf(directory))).toEqual(shapes(await tensorsOf(`${adapterDir}gpt2`)));
    const read = (at: string) => JSON.parse(readFileSync(join(at, 'adapter_config.json'), 'utf8')) as Json;
    const [own, theirs] = [read(directory), read(`${adapterDir}gpt2`)];
    for (const [field, value] of Object.entries(own))
      if (!['base_model_name_or_path', 'target_modules'].includes(field))
        expect(theirs[field], field).toEqual(value);
    expect(own.target_modules).toEqual(['c_attn', 'c_proj', 'c_fc']);
    const { sequences } = expectedOf('gpt2');
    await agree(model, await loadModel(directory), sequences);
  });

  it('the same seed draws the same adapter, and one map less changes no other', async () => {
    const draw = async (targets: LoraOptions['targets'], seed: number): Promise<Model> =>
      addLora(await loadModel(`${fixtureDir}gpt2`), { ...options, targets }, { name: 'base' }, seed);
    const [all, some, other] = [
      await draw('all-linear', 1),
      await draw(['c_fc'], 1),
      await draw(['c_fc'], 2),
    ];
    const name = 'transformer.h.0.mlp.c_fc.lora_A.weight';
    const bits = (model: Model) => Array.from(model.params[name]!.dataSync());
    expect(bits(some)).toEqual(bits(all));
    expect(bits(other)).not.toEqual(bits(all));
    const largest = Math.max(...bits(all).map(Math.abs));
    expect(largest).toBeLessThan(1 / Math.sqrt(24));
    expect(largest).toBeGreaterThan(0.9 / Math.sqrt(24));
    for (const model of [all, some, other]) disposeModel(model);
  });

  it('an adapter goes beside its base, and not into the directory of a model', async () => {
    const model = await loadModel(`${fixtureDir}gpt2`, { adapter: `${adapterDir}gpt2` });
    const { sequences } = expectedOf('gpt2');
    const into = join(place, String(count++));
    cpSync(`${fixtureDir}gpt2`, into, { recursive: true });
    await expect(saveModel(into, model)).rejects.toThrow('holds a whole model');
    await agree(model, await loadModel(`${adapterDir}gpt2`), sequences);
  });

  it('a base from the cache of the hub is named by its id and commit, and found there', async () => {
    const commit = '0123456789abcdef0123456789abcdef01234567';
    const snapshot = join(place, 'hub', 'models--org--small', 'snapshots', commit);
    cpSync(`${fixtureDir}gpt2`, snapshot, { recursive: true });
    expect(baseSource(snapshot)).toEqual({ name: 'org/small', revision: commit });
    const model = addLora(await loadModel(snapshot), options, baseSource(snapshot), 1);
    const directory = join(place, String(count++));
    await saveModel(directory, model);
    vi.stubEnv('HF_HUB_CACHE', join(place, 'hub'));
    await agree(model, await loadModel(directory), expectedOf('gpt2').sequences);
    vi.unstubAllEnvs();
  });

  async function agree(a: Model, b: Model, sequences: number[][]): Promise<void> {
    expect(logprobsOf(a, sequences)).toEqual(logprobsOf(b, sequences));
    for (const model of [a, b]) disposeModel(model);
  }
});
