import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Generation, GenerationRequest } from '../../src/evaluation/generations.js';
import { generationCache } from '../../src/runs/generationCache.js';

let directory: string;
let lines: string[];
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'generations-'));
  lines = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

const open = (change: { model?: string; teacher?: string; engine?: string } = {}) =>
  generationCache(directory, {
    ...{ model: 'a', teacher: 'b', engine: 'e', ...change },
    log: (line) => void lines.push(line),
  });
const request: GenerationRequest = {
  ...{ of: 'model', seed: 10, greedy: false, maxNewTokens: 4, eosIds: [0], vocabSize: 9 },
  prompts: [Int32Array.of(1, 2), Int32Array.of(3)],
};
const made: Generation[] = [
  [5, 0],
  [7, 8, 7, 8],
].map((ids, promptIndex) => ({
  promptIndex,
  promptIds: request.prompts[promptIndex]!,
  responseIds: Int32Array.from(ids),
  studentLogprobs: Float32Array.from(ids, (id) => -0.1 * (id + 1)),
  finished: ids.at(-1) === 0,
}));

describe('generationCache', () => {
  it('gives back what was saved, to the bit', () => {
    expect(open().load(request)).toBeUndefined();
    open().save(request, made);
    expect(open().load(request)).toEqual(made);
    expect(lines).toEqual([]);
  });

  it('knows other weights, engines, prompts and sampling', () => {
    open().save(request, made);
    for (const other of [
      { ...request, seed: 20 },
      { ...request, greedy: true },
      { ...request, maxNewTokens: 5 },
      { ...request, eosIds: [0, 1] },
      { ...request, vocabSize: 10 },
      { ...request, noRepeatNgram: 6 },
      { ...request, prompts: [Int32Array.of(1, 2), Int32Array.of(4)] },
      { ...request, prompts: [Int32Array.of(1), Int32Array.of(2, 3)] },
      { ...request, of: 'teacher' as const },
    ]) {
      expect(open().load(other)).toBeUndefined();
    }
    expect(open({ model: 'c' }).load(request)).toBeUndefined();
    expect(open({ engine: 'f' }).load(request)).toBeUndefined();
    // What the teacher said for one student is there for the next, and for the teacher's own evaluation.
    open().save({ ...request, of: 'teacher' }, made);
    expect(open({ model: 'c' }).load({ ...request, of: 'teacher' })).toEqual(made);
    expect(open({ model: 'b' }).load(request)).toEqual(made);
  });

  it.each<[string, (file: string, text: Buffer) => Buffer]>([
    ['a torn file', (_, text) => text.subarray(0, text.length / 2)],
    ['a flipped bit', (_, text) => Buffer.from(text.map((byte, i) => (i === 30 ? byte ^ 4 : byte)))],
    ['no gzip', () => Buffer.from('hello')],
    ['no responses', () => gzipSync('{"key": "x"}')],
    ['other prompts', () => gzipSync(JSON.stringify({ key: 'x', rows: [] }))],
    [
      'foreign tokens',
      (file) => {
        const rows = [0, 1].map(() => ({ ids: [99], logprobs: [-1], finished: true }));
        return gzipSync(JSON.stringify({ key: file, rows }));
      },
    ],
  ])('says that %s is of no use, and the next save mends it', (_, damage) => {
    open().save(request, made);
    const [name] = readdirSync(directory);
    const file = path.join(directory, name!);
    writeFileSync(file, damage(name!, readFileSync(file)));
    expect(open().load(request)).toBeUndefined();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^note: .*\.json\.gz cannot be used \(.+\); its responses are made again$/);
    open().save(request, made);
    expect(open().load(request)).toEqual(made);
    expect(readdirSync(directory)).toEqual([name]);
  });
});
