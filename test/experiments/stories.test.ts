import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeStories, type StoryRow } from '../../experiments/what-pays/stories/make.js';
import { storyTeacher } from '../../experiments/what-pays/stories/teacher.js';
import { loadExamples } from '../../src/data/examples.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { writeTinyModel } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('stories');
const teacher = join(place.path, 'teacher');
const sizes = { stories: 6, rows: { train: 20, test: 10 } };
let digests: Record<string, string>;
beforeAll(async () => {
  await writeTinyModel(teacher, 1, { positions: 512 });
  digests = await makeStories(join(place.path, 'a'), teacher, sizes);
});
afterAll(place.remove);

const rowsOf = (name: string) =>
  readFileSync(join(place.path, 'a', name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as StoryRow);

describe('what-pays/stories', () => {
  it('openings of 8 to 24 tokens behind the beginning, none like another in the first 8', () => {
    const rows = [...rowsOf('train.jsonl'), ...rowsOf('test.jsonl')];
    expect(rows).toHaveLength(30);
    expect(new Set(rows.map(({ prompt_ids }) => prompt_ids.slice(0, 9).join())).size).toBe(30);
    for (const { prompt_ids, response_ids } of rows) {
      expect(prompt_ids[0]).toBe(1);
      expect(prompt_ids.length).toBeGreaterThanOrEqual(9);
      expect(prompt_ids.length).toBeLessThanOrEqual(25);
      expect(prompt_ids).not.toContain(0); // the end token of the tiny models
      // A continuation ends by itself, or is cut at 128 tokens without an end token.
      expect(response_ids.length === 128 || response_ids.at(-1) === 0).toBe(true);
      expect(response_ids.length).toBeLessThanOrEqual(128);
    }
    expect(new Set(rows.map(({ prompt_ids }) => prompt_ids.length)).size).toBeGreaterThan(5);
  });

  it('training reads the rows token by token', async () => {
    const tokenizer = await loadTokenizer(teacher);
    const limits = { maxPromptTokens: 25, maxTokens: 153 };
    const { examples, dropped } = await loadExamples(join(place.path, 'a', 'test.jsonl'), tokenizer, limits);
    expect(dropped).toBe(0);
    expect(
      examples.map(({ promptIds, responseIds }) => [Array.from(promptIds), Array.from(responseIds)]),
    ).toEqual(rowsOf('test.jsonl').map(({ prompt_ids, response_ids }) => [prompt_ids, response_ids]));
  });

  it('the same call makes the same bytes', async () => {
    expect(Object.keys(digests)).toEqual(['train.jsonl', 'test.jsonl', 'corpus.jsonl']);
    expect(await makeStories(join(place.path, 'b'), teacher, sizes)).toEqual(digests);
  });

  it.each(['sft', 'base'])('%s.yaml is valid and takes rows of that length', async (name) => {
    const file = resolve(import.meta.dirname, `../../experiments/what-pays/stories/${name}.yaml`);
    const { data, rollout } = await readTrainConfig(file, [], ['models', 'data']);
    expect([data.max_prompt_tokens, data.max_tokens, rollout.max_new_tokens]).toEqual([25, 153, 128]);
  });

  it('without its teacher a line says what to get', () => {
    const how = 'set TINYSTORIES to a directory with raincandy-u/TinyStories-656K of huggingface.co';
    expect(storyTeacher('')).toEqual({ missing: `needs its teacher: ${how}` });
    expect(storyTeacher(join(place.path, 'a'))).toEqual({
      missing: `${join(place.path, 'a')} has no config.json, model.safetensors, tokenizer.json: ${how}`,
    });
    expect(storyTeacher(teacher)).toEqual({ directory: teacher });
  });
});
