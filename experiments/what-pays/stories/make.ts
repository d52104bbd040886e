/**
 * Writes the rows of the setting `stories`: `node experiments/what-pays/stories/make.ts DIR [--teacher DIR]`. Without --teacher the
 * teacher is where TINYSTORIES says. DIR/train.jsonl, valid.jsonl, test.jsonl hold openings of stories and the teacher's own
 * continuations as token ids, DIR/corpus.jsonl whole stories of the teacher as text, DIR/digests.json the SHA-256 of every file,
 * DIR/teacher the teacher itself.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { loadModel } from '../../../src/models/checkpoint.js';
import { disposeModel, type Model } from '../../../src/models/model.js';
import { integer, stream } from '../../../src/random/streams.js';
import { rollout } from '../../../src/rollout/engine.js';
import { plainSampling } from '../../../src/rollout/sampling.js';
import type { Trajectory } from '../../../src/rollout/trajectory.js';
import { initBackend } from '../../../src/tensor/backend.js';
import { loadTokenizer } from '../../../src/text/tokenizer.js';
import { storyTeacher } from './teacher.js';

const SEEDS = { openings: 1, continuations: 2, corpus: 3 };
/** The token that begins a story, alone: a text would get a space behind it, which the teacher has never read there. */
const BEGINNING = 1;
/** Tokens of an opening behind the beginning, and the most of a continuation. */
const OPENING = { from: 8, to: 24 };
const CONTINUATION = 128;
const LONGEST_STORY = 480;

export interface StoryRow {
  prompt_ids: number[];
  response_ids: number[];
  /** For readers. */
  text: string;
}

export interface StorySizes {
  /** Whole stories of the corpus; those without an end are left out of it. */
  stories?: number;
  /** Rows of each part. */
  rows?: Record<string, number>;
}

/** All files of the setting; digests by the file's name. */
export async function makeStories(
  out: string,
  directory: string,
  { stories = 2000, rows = { train: 12_000, valid: 400, test: 300 } }: StorySizes = {},
): Promise<Record<string, string>> {
  const teacher = await loadModel(directory);
  const tokenizer = await loadTokenizer(directory);
  mkdirSync(out, { recursive: true });
  const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
  const openings = openingsOf(teacher, total);
  const told = sampled(teacher, openings, { seed: SEEDS.continuations, maxNewTokens: CONTINUATION });
  const whole = sampled(teacher, beginnings(stories), { seed: SEEDS.corpus, maxNewTokens: LONGEST_STORY });
  disposeModel(teacher);
  const textOf = (ids: ArrayLike<number>): string => tokenizer.decode(ids, { skipSpecial: true }).trim();
  const digests: Record<string, string> = {};
  const write = (name: string, content: readonly object[]): void => {
    const lines = content.map((row) => `${JSON.stringify(row)}\n`).join('');
    writeFileSync(join(out, name), lines);
    digests[name] = digest(lines);
  };
  let at = 0;
  for (const [name, count] of Object.entries(rows)) {
    const part = told.slice(at, at + count).map(({ promptIds, responseIds }): StoryRow => {
      const all = [...promptIds, ...responseIds];
      return { prompt_ids: [...promptIds], response_ids: [...responseIds], text: textOf(all) };
    });
    at += count;
    write(`${name}.jsonl`, part);
  }
  const ended = whole.filter(({ finished }) => finished);
  write(
    'corpus.jsonl',
    ended.map(({ responseIds }) => ({ text: textOf(responseIds) })),
  );
  writeFileSync(join(out, 'digests.json'), `${JSON.stringify(digests, null, 2)}\n`);
  return digests;
}

/**
 * The first 8 to 24 tokens of stories that the teacher tells, as many as asked for. No two share the first 8, so that no opening of
 * one part of the data begins like one of another.
 */
function openingsOf(teacher: Model, count: number): number[][] {
  const found = new Map<string, number[]>();
  for (let round = 0; found.size < count; round++) {
    const begun = sampled(teacher, beginnings(Math.min(4096, 2 * count)), {
      ...{ seed: SEEDS.openings, round, maxNewTokens: OPENING.to },
    });
    for (const [i, { responseIds, finished }] of begun.entries()) {
      if (finished || found.size === count) continue;
      const first = responseIds.slice(0, OPENING.from).join();
      const length =
        OPENING.from + integer(stream(SEEDS.openings, 'length', round, i), 1 + OPENING.to - OPENING.from);
      if (!found.has(first)) found.set(first, [BEGINNING, ...responseIds.slice(0, length)]);
    }
  }
  return [...found.values()];
}

const beginnings = (count: number): number[][] => Array(count).fill([BEGINNING]);

/** One response of the teacher to every prompt, at temperature 1. */
function sampled(
  teacher: Model,
  prompts: readonly (readonly number[])[],
  how: { seed: number; maxNewTokens: number; round?: number },
): Trajectory[] {
  const asked = prompts.map((ids, index) => ({ index, ids: Int32Array.from(ids) }));
  return rollout(teacher, asked, {
    ...plainSampling,
    ...{ samples: 1, eosIds: teacher.config.eosIds, batchSize: 256, round: 0, policyVersion: 0 },
    ...how,
  });
}

const digest = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { teacher: { type: 'string' } },
  });
  const teacher = storyTeacher(values.teacher);
  if ('missing' in teacher) throw new Error(`stories: ${teacher.missing}`);
  await initBackend({ threads: 1 });
  const started = performance.now();
  const digests = await makeStories(positionals[0]!, teacher.directory);
  cpSync(teacher.directory, join(positionals[0]!, 'teacher'), { recursive: true });
  const model = digest(readFileSync(join(teacher.directory, 'model.safetensors')));
  process.stdout.write(`${JSON.stringify({ teacher: model, ...digests }, null, 2)}\n`);
  process.stderr.write(`made in ${Math.round((performance.now() - started) / 1000)} s\n`);
}
