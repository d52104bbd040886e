import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { run } from '../../../src/cli/program.js';
import { saveModel } from '../../../src/models/checkpoint.js';
import { type FamilyName, familyNames, newModelConfig } from '../../../src/models/families.js';
import { initModel } from '../../../src/models/model.js';
import { SafetensorsFile } from '../../../src/models/safetensors.js';
import { writeSafetensors } from '../../../src/models/safetensorsWriter.js';
import { disposeParams } from '../../../src/tensor/params.js';
import { PreTokenCounts, trainBpe } from '../../../src/text/bpe.js';
import { endOfText, saveTokenizer } from '../../../src/text/tokenizer-files.js';
import { chatTemplates, sentencePiece, wordPiece } from './tokenizers.js';

/** Everything that is damaged later, whole, on disk: small models of all families, data, and runs that really ran. */
export interface World {
  path: string;
  family(name: FamilyName): string;
  families: readonly FamilyName[];
  sharded: string;
  student: string;
  teacher: string;
  tokenizers: string[];
  data: string;
  runs: { minillm: string; distillm: string; seqkd: string };
  configs: string;
}

const text = 'The cat is on the mat. A dog, 12 birds and 3 trees: what is it? It is a "word" of the list.';

/** Makes the world where it is not there yet; a minute at most. */
export async function openWorld(path: string): Promise<World> {
  const at = (...names: string[]): string => join(path, ...names);
  const world: World = {
    path,
    family: (name) => at('families', name),
    families: familyNames,
    sharded: at('sharded'),
    student: at('student'),
    teacher: at('teacher'),
    tokenizers: ['bytes', 'pieces', 'words'].map((name) => at('tokenizers', name)),
    data: at('data'),
    runs: { minillm: at('runs', 'minillm'), distillm: at('runs', 'distillm'), seqkd: at('runs', 'seqkd') },
    configs: at('configs'),
  };
  if (existsSync(at('whole'))) return world;
  const counts = new PreTokenCounts();
  counts.add(text);
  saveTokenizer(at('tokenizers', 'bytes'), trainBpe(counts.counts, 264, [endOfText]));
  for (const [name, files] of Object.entries({ pieces: sentencePiece, words: wordPiece })) {
    mkdirSync(at('tokenizers', name), { recursive: true });
    for (const [file, json] of Object.entries(files))
      writeFileSync(at('tokenizers', name, file), JSON.stringify(json, null, 1));
  }
  for (const directory of world.tokenizers)
    writeFileSync(join(directory, 'chat_template.jinja'), chatTemplates[0]!);
  for (const name of familyNames) await saveTiny(world.family(name), name, at('tokenizers', 'bytes'), 1);
  await saveTiny(world.student, 'llama', at('tokenizers', 'bytes'), 2);
  await saveTiny(world.teacher, 'llama', at('tokenizers', 'bytes'), 3);
  await shard(world.student, world.sharded);
  writeData(world);
  await train(world);
  writeFileSync(at('whole'), '');
  return world;
}

async function saveTiny(directory: string, name: FamilyName, tokenizer: string, seed: number): Promise<void> {
  const rotary = name !== 'gpt2' && name !== 'opt';
  const config = newModelConfig(name, {
    ...{ vocabSize: 264, hiddenSize: 8, layers: 1, heads: 2, maxPositions: 64, intermediateSize: 16 },
    ...(rotary && { kvHeads: 1 }),
    eosId: 0,
  });
  const model = initModel({ ...config, initStd: 0.3 }, seed);
  await saveModel(directory, model, { tokenizerFrom: tokenizer });
  disposeParams(model.params);
}

/** The same weights in two files and their index. */
async function shard(from: string, to: string): Promise<void> {
  mkdirSync(to, { recursive: true });
  const file = await SafetensorsFile.open(join(from, 'model.safetensors'));
  const names = [...file.entries.keys()];
  const parts = [names.slice(0, 3), names.slice(3)];
  const weight_map: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const shardName = `model-0000${i + 1}-of-00002.safetensors`;
    const tensors = await Promise.all(part.map((name) => file.read(name)));
    await writeSafetensors(
      join(to, shardName),
      tensors.map(({ name, shape, data }) => ({ name, shape, data: async () => data })),
    );
    for (const name of part) weight_map[name] = shardName;
  }
  await file.close();
  const index = { metadata: { total_size: 1 }, weight_map };
  writeFileSync(join(to, 'model.safetensors.index.json'), JSON.stringify(index));
}

const jsonl = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

function writeData({ data }: World): void {
  mkdirSync(data, { recursive: true });
  const put = (name: string, content: string): void => writeFileSync(join(data, name), content);
  const shapes = [
    { instruction: 'What is it?', input: '', output: 'A word.' },
    { instruction: 'Name it.', input: 'cat', output: ['A cat', 'cat'] },
    { instruction: 'Sum', context: '1 2', response: '3' },
    { prompt: 'The cat', completion: ' is on the mat' },
    {
      instruction: 'List',
      instances: [
        { input: 'a', output: 'b' },
        { input: '', output: 'c' },
      ],
    },
    { instruction: 'Yes?', output: 'yes', choices: ['yes', 'no'] },
  ];
  const talk = {
    messages: [
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'What is it?' },
      { role: 'assistant', content: 'A dog.' },
    ],
  };
  put('shapes.jsonl', jsonl(shapes));
  put('shapes.json', JSON.stringify(shapes));
  put('turns.jsonl', jsonl([{ turns: ['What?', 'And?'] }, { instruction: 'Why?' }]));
  put('chat.jsonl', jsonl([talk, { ...talk, messages: talk.messages.slice(1) }]));
  put(
    'prompts.jsonl',
    jsonl([
      { prompt: 'The' },
      { ids: [1, 2, 3], attention_mask: [0, 1, 1] },
      { messages: talk.messages.slice(0, 2) },
    ]),
  );
  put('texts.jsonl', jsonl([{ ids: [1, 2, 3] }, { ids: [4, 5] }]));
  put(
    'rollouts.jsonl',
    jsonl([
      { prompt_ids: [1, 2], response_ids: [3, 4, 0], old_logprobs: [-1, -2, -3] },
      { prompt_ids: [5], response_ids: [6, 0], teacher_logprobs: [-1, -0.5], teacher_logprobs_t: [-1, -2] },
    ]),
  );
  put('corpus.txt', `${Array(8).fill(text).join('\n\n')}\n`);
  put('corpus.jsonl', jsonl(Array(4).fill({ text })));
  const rows = Array.from({ length: 8 }, (_, i) => ({
    instruction: `${'abcdefgh'[i]} is`,
    output: `it ${i}`,
  }));
  put('train.jsonl', jsonl(rows));
  put('valid.jsonl', jsonl(rows.slice(0, 2)));
  const table = [[], [1]].map((prefix) => ({ prefix, logits: [0.5, -0.25] }));
  put(
    'world.json',
    JSON.stringify({ vocab: 2, horizon: 2, eos: 0, alpha: 0.2, student: table, teacher: table }),
  );
}

/** A configuration of a few steps. */
export function trainFields({ student, teacher, data }: World, method: string): Record<string, unknown> {
  return {
    ...{ method, seed: 3, student, teacher, backend: 'cpu' },
    data: {
      ...{
        train: join(data, 'train.jsonl'),
        valid: join(data, 'valid.jsonl'),
        corpus: join(data, 'corpus.txt'),
      },
      ...{ template: 'none', max_prompt_tokens: 12, max_tokens: 24 },
    },
    train: { steps: 4, batch_size: 2, lr: 0.01, warmup: 1 },
    rollout: { rollouts: 4, inner_epochs: 2, max_new_tokens: 4 },
    ...(method === 'distillm' && { distillm: { capacity: 4 } }),
    pretrain: { length: 6, batch_size: 2 },
    eval: { every: 2 },
    checkpoint: { every: 2, keep: 2 },
  };
}

async function train(world: World): Promise<void> {
  mkdirSync(world.configs, { recursive: true });
  for (const method of ['minillm', 'distillm', 'seqkd'] as const) {
    const config = join(world.configs, `${method}.yaml`);
    writeFileSync(config, stringify(trainFields(world, method)));
    await command('train', config, '--out', world.runs[method], '--quiet');
  }
  await command(
    ...['eval', '--model', join(world.runs.minillm, 'final'), '--teacher', world.teacher, '--quiet'],
    ...[
      '--data',
      join(world.data, 'valid.jsonl'),
      '--template',
      'none',
      '--max-new-tokens',
      '4',
      '--backend',
      'cpu',
    ],
    ...['--seeds', '1,2', '--run', world.runs.minillm],
  );
  const sweep = {
    base: 'minillm.yaml',
    grid: { method: ['sft', 'kd'], seed: [1, 2] },
    set: { 'train.steps': 2 },
    variants: { low: { 'train.lr': 0.001 }, high: { 'train.lr': 0.01 } },
    budget: { kind: 'steps', amount: 4 },
    evaluate: { data: join(world.data, 'valid.jsonl'), seeds: [1] },
  };
  writeFileSync(join(world.configs, 'sweep.yaml'), stringify(sweep));
}

async function command(...args: string[]): Promise<void> {
  const code = await run(args);
  if (code !== 0) throw new Error(`the campaign's own world: ${args.join(' ')} ended with ${code}`);
}
