import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { saveModel } from '../../src/models/checkpoint.js';
import { integer, type Rng, stream } from '../../src/random/streams.js';
import { disposeParams } from '../../src/tensor/params.js';
import { endOfText, saveTokenizer } from '../../src/text/tokenizer-files.js';
import { type TinyShape, tinyModel } from './models.js';

const letters = [...'abcdefgh'];

/** A byte-level vocabulary of a few letters: end of text, space, line break, colon, the letters, three merges. */
export function writeTinyTokenizer(directory: string, firstLetter = 'a'): number {
  const base = [endOfText, 'Ġ', 'Ċ', ':', ...letters];
  const merges: [string, string][] = [
    [firstLetter, 'b'],
    ['c', 'd'],
    ['Ġ', 'e'],
  ];
  const vocab = [...base, ...merges.map((pair) => pair.join(''))];
  saveTokenizer(directory, { vocab, merges });
  return vocab.length;
}

/** A model directory with weights, config and tokenizer. */
export async function writeTinyModel(directory: string, seed: number, shape: TinyShape = {}): Promise<void> {
  const vocab = writeTinyTokenizer(`${directory}.tokenizer`);
  const model = tinyModel(seed, { vocab, layers: 1, positions: 24, ...shape });
  await saveModel(directory, model, { tokenizerFrom: `${directory}.tokenizer` });
  disposeParams(model.params);
}

export interface FileWorld {
  path: string;
  student: string;
  teacher: string;
  /** GPT-2, and a vocabulary padded by two ids. */
  secondTeacher: string;
  train: string;
  valid: string;
  corpus: string;
}

/** Models and data on disk, small enough for a step of milliseconds. `initBackend` must have run. */
export async function writeFileWorld(path: string): Promise<FileWorld> {
  const world: FileWorld = {
    path,
    student: join(path, 'student'),
    teacher: join(path, 'teacher'),
    secondTeacher: join(path, 'teacher-2'),
    train: join(path, 'train.jsonl'),
    valid: join(path, 'valid.jsonl'),
    corpus: join(path, 'corpus.txt'),
  };
  await writeTinyModel(world.student, 1);
  await writeTinyModel(world.teacher, 2, { std: 0.5 });
  await writeTinyModel(world.secondTeacher, 3, { std: 0.5, family: 'gpt2', vocab: 17 });
  const rng = stream(1, 'file world');
  writeFileSync(world.train, jsonl(rows(16, rng)));
  writeFileSync(world.valid, jsonl(rows(4, rng)));
  const paragraphs = Array.from({ length: 8 }, () => `${word(rng)} ${word(rng)} ${word(rng)}`);
  writeFileSync(world.corpus, `${paragraphs.join('\n\n')}\n`);
  return world;
}

export function jsonl(items: readonly unknown[]): string {
  return items.map((item) => `${JSON.stringify(item)}\n`).join('');
}

function rows(count: number, rng: Rng): { instruction: string; output: string }[] {
  return Array.from({ length: count }, () => {
    const text = word(rng);
    return { instruction: `${text}:`, output: [...text].reverse().join('') };
  });
}

function word(rng: Rng): string {
  return Array.from({ length: 2 + integer(rng, 2) }, () => letters[integer(rng, letters.length)]).join('');
}

type Fields = Record<string, unknown>;

/** What the default preset leaves out: tests of runs have the mixture and the text as well. */
export const everyPart = { alpha: 0.2, lm_coef: 1 };

/** A configuration of a few quick steps with everything in it; sections of `change` are laid over its own. */
export function worldConfig(world: FileWorld, method: string, change: Fields = {}): Fields {
  const base: Fields = {
    method,
    seed: 3,
    student: world.student,
    teacher: method === 'babyllama' ? [world.teacher, world.secondTeacher] : world.teacher,
    data: {
      train: world.train,
      valid: world.valid,
      corpus: world.corpus,
      template: 'none',
      max_prompt_tokens: 8,
      max_tokens: 14,
    },
    train: { steps: 6, batch_size: 4, lr: 0.01, warmup: 2 },
    rollout: { rollouts: 8, inner_epochs: 2, max_new_tokens: 5 },
    pretrain: { length: 6, batch_size: 2 },
    eval: { every: 3, samples: 1 },
    checkpoint: { every: 2, keep: 2 },
    ...(method === 'minillm' && { objective: everyPart }),
  };
  const merged = { ...base };
  for (const [key, value] of Object.entries(change)) {
    const old = merged[key];
    const both = [old, value].every((x) => typeof x === 'object' && x !== null && !Array.isArray(x));
    merged[key] = both ? { ...(old as Fields), ...(value as Fields) } : value;
  }
  return merged;
}

export function writeConfig(file: string, fields: Fields): string {
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, stringify(fields));
  return file;
}
