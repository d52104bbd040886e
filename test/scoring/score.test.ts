import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { scoreCommand } from '../../src/cli/commands/score.js';
import { UsageError } from '../../src/errors.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { forwardHidden, headLogits, type Model } from '../../src/models/model.js';
import { integer, stream } from '../../src/random/streams.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { initBackend } from '../../src/tensor/backend.js';
import { fixtureDir, maxDifference, tinystories, tinystoriesAbsent } from '../models/fixtures.js';

await initBackend({ backend: 'cpu' });
const gpt2 = `${fixtureDir}gpt2`; // vocabulary 59, context 48
const model = await loadModel(gpt2);

/** One sequence, the whole logits, a softmax written out: slow and obvious. */
function slowScores({ params, config }: Model, ids: Int32Array): number[] {
  const logits = tf.tidy(() => headLogits(params, config, forwardHidden(params, config, ids, 1, ids.length)));
  const rows = logits.arraySync();
  logits.dispose();
  return Array.from(ids.subarray(1), (id, i) => {
    const row = rows[i]!;
    const most = Math.max(...row);
    return row[id]! - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
  });
}

const rng = stream(1, 'score test');
const sequences = [9, 1, 30, 2, 48, 9, 0, 17, 3, 25].map((length) =>
  Int32Array.from({ length }, () => integer(rng, 59)),
);

describe('scoreTokens', () => {
  it('equals the softmax written out, in the order given', () => {
    const before = tf.memory().numTensors;
    const scores = scoreTokens(model, sequences);
    expect(tf.memory().numTensors).toBe(before);
    expect(scores.map((s) => s.length)).toEqual([8, 0, 29, 1, 47, 8, 0, 16, 2, 24]);
    sequences.forEach((ids, i) => {
      if (ids.length > 1) expect(maxDifference(scores[i]!, slowScores(model, ids))).toBeLessThan(1e-5);
    });
  });

  it.each([
    { batchSize: 1 },
    { tokenBudget: 1 },
    { tokenBudget: 60 },
    { logitsBudget: 1 },
    { logitsBudget: 59 * 5 },
  ])('%o changes nothing', (options) => {
    const usual = scoreTokens(model, sequences);
    scoreTokens(model, sequences, options).forEach((score, i) => {
      expect(maxDifference(score, usual[i]!)).toBeLessThan(1e-6);
    });
  });

  it('nothing to score', () => {
    expect(scoreTokens(model, [])).toEqual([]);
    expect(scoreTokens(model, [Int32Array.of(3)])).toEqual([new Float32Array(0)]);
  });

  it('names the row that does not fit, before any work', () => {
    const bad = (ids: number[]) => () => scoreTokens(model, [Int32Array.of(1, 2), Int32Array.from(ids)]);
    expect(bad([1, 59])).toThrow(UsageError);
    expect(bad([1, 59])).toThrow("row 1 holds the token id 59, outside the model's vocabulary of 59");
    expect(bad([-1])).toThrow('row 1 holds the token id -1');
    expect(bad(new Array<number>(49).fill(0))).toThrow(
      "row 1 has 49 tokens, more than the model's context of 48",
    );
  });
});

describe('minillm score', () => {
  const directory = mkdtempSync(join(tmpdir(), 'minillm-score-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  afterEach(() => vi.restoreAllMocks());

  async function score(
    modelDir: string,
    ...lines: unknown[]
  ): Promise<{ ids: number[]; logprobs: number[] }[]> {
    const file = join(directory, 'rows.jsonl');
    writeFileSync(
      file,
      lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''),
    );
    let out = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text);
      return true;
    });
    const args = ['--model', modelDir, '--input', file, '--backend', 'cpu', '--quiet', '--batch-size', '4'];
    try {
      await scoreCommand().parseAsync(args, { from: 'user' });
    } catch (error) {
      expect(out).toBe('');
      throw error;
    } finally {
      vi.restoreAllMocks();
    }
    return out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { ids: number[]; logprobs: number[] });
  }

  it('rows of ids, in order, without a tokenizer', async () => {
    const rows = await score(gpt2, ...sequences.map((ids) => ({ ids: [...ids] })));
    expect(rows.map((row) => row.ids)).toEqual(sequences.map((ids) => [...ids]));
    const scores = scoreTokens(model, sequences);
    // printed in few digits, and still the same 32-bit floats
    expect(rows.map((row) => row.logprobs.map(Math.fround))).toEqual(scores.map((s) => [...s]));
    expect(JSON.stringify(rows[0]!.logprobs[0]).length).toBeLessThan(14);
  });

  it('more rows than one window', async () => {
    const rows = await score(gpt2, ...Array.from({ length: 300 }, (_, i) => ({ ids: [i % 59, 7] })));
    expect(rows.map((row) => row.ids[0])).toEqual(Array.from({ length: 300 }, (_, i) => i % 59));
    expect(rows[299]).toEqual(rows[4]);
  });

  it.skipIf(tinystoriesAbsent)(
    `prompt and response, encoded together (${tinystoriesAbsent ?? 'tinystories-656k'})`,
    async () => {
      const [row] = await score(tinystories, { prompt: 'Once upon', response: ' a time' });
      // As transformers encodes "Once upon a time", and the end token. "Once upon" alone ends in 189, 111.
      expect(row!.ids).toEqual([1, 80, 147, 201, 282, 57, 2]);
      expect(row!.logprobs.length).toBe(6);
    },
  );

  it.each([
    ['{"ids":[1,2', 'rows.jsonl:1: not JSON'],
    [{ ids: '1,2' }, 'rows.jsonl:1: ids must be a list of token ids'],
    [{ ids: [1, 2.5] }, 'rows.jsonl:1: ids must be a list of token ids'],
    [{ ids: [1, 1e10] }, 'rows.jsonl:1: ids must be a list of token ids'],
    [{ ids: [1, 59] }, 'rows.jsonl:1 holds the token id 59'],
    [{ ids: new Array(49).fill(1) }, 'rows.jsonl:1 has 49 tokens'],
    [{ prompt: 'a' }, 'expected {"ids":[…]} or {"prompt":"…","response":"…"}'],
    [{ prompt: 'a', response: 'b' }, 'no tokenizer.json'],
    ['', 'no rows to score'],
  ])('%o is refused in one line, with nothing printed', async (line, message) => {
    await expect(score(gpt2, line)).rejects.toThrow(message);
    await expect(score(gpt2, line)).rejects.toThrow(UsageError);
  });
});
