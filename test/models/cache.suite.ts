import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createCache,
  decodeStep,
  disposeCache,
  type KVCache,
  prefill,
  selectRows,
} from '../../src/models/cache.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { forwardHidden, type Model } from '../../src/models/model.js';
import { integer, stream } from '../../src/random/streams.js';
import { disposeParams } from '../../src/tensor/params.js';
import { fixtureDir, fixtureNames, maxDifference } from './fixtures.js';

/** Decoding with a cache against full passes, the same suite for every backend; `initBackend` must have run. */
export function cacheSuite(): void {
  describe.each(fixtureNames)('%s', (name) => {
    let model: Model;
    beforeAll(async () => {
      model = await loadModel(`${fixtureDir}${name}`);
    });
    afterAll(() => disposeParams(model.params));

    it('a batch of 5 rows of unequal lengths equals full passes, step by step', () => {
      const rows = sequences(model, 5);
      withCache(model, rows, [1, 4, 7, 2, 7], 13, (cache, prompts, hidden) => {
        prompts.forEach((length, b) => {
          expect(maxDifference(hidden[b]!, fullPass(model, rows[b]!, length - 1))).toBeLessThan(1e-5);
        });
        for (let t = 0; t < 6; t++)
          checkStep(
            model,
            cache,
            rows,
            prompts.map((p) => p + t),
          );
      });
    });

    it('a batch of 1 fills its cache to the last slot', () => {
      const rows = sequences(model, 1);
      withCache(model, rows, [3], 9, (cache) => {
        for (let t = 3; t < 9; t++) checkStep(model, cache, rows, [t]);
      });
    });

    it('selected rows, repeated and reordered, go on apart and leave the old cache alone', () => {
      const rows = sequences(model, 4);
      withCache(model, rows, [5, 2, 6, 3], 12, (cache) => {
        checkStep(model, cache, rows, [5, 2, 6, 3]);
        const picked = selectRows(cache, Int32Array.of(3, 3, 0, 1, 3));
        expect(picked.batch).toBe(5);
        // Three copies of one prompt continue with different tokens, as K samples do.
        const tail = sequences(model, 5, 'continuations');
        const histories = [3, 3, 0, 1, 3].map((from, b) => {
          const kept = [4, 4, 6, 3, 4][b]!;
          return [...rows[from]!.slice(0, kept), ...tail[b]!.slice(kept)];
        });
        for (let t = 0; t < 4; t++) checkStep(model, picked, histories, [4 + t, 4 + t, 6 + t, 3 + t, 4 + t]);
        disposeCache(picked);
        checkStep(model, cache, rows, [6, 3, 7, 4]);
      });
    });
  });

  it('names what does not fit', async () => {
    const model = await loadModel(`${fixtureDir}gpt2`);
    const cache = createCache(model.config, 2, 4);
    const ids = Int32Array.of(1, 2);
    expect(() => prefill(model, cache, new Int32Array(10), 2, 5)).toThrow('5 tokens for a cache of 4 slots');
    expect(() => prefill(model, cache, ids, 1, 2)).toThrow('a batch of 1 for a cache of 2 sequences');
    expect(() => prefill(model, cache, ids, 2, 2)).toThrow(
      '2 token ids given, expected batch times length, 4',
    );
    expect(() => prefill(model, cache, Int32Array.of(1, 59), 2, 1)).toThrow(
      'token id 59 is outside the model',
    );
    expect(() => decodeStep(model, cache, ids, Int32Array.of(0, 4))).toThrow(
      'position 4 for a cache of 4 slots',
    );
    expect(() => decodeStep(model, cache, ids, Int32Array.of(0, 48))).toThrow(
      'position 48 is outside the model',
    );
    expect(() => selectRows(cache, Int32Array.of(0, 2))).toThrow('row 2 of a cache of 2 sequences');
    disposeCache(cache);
    disposeParams(model.params);
  });
}

/** Random tokens, more than any test reads. */
function sequences({ config }: Model, count: number, what = 'prompts'): number[][] {
  const rng = stream(3, 'cache test', what);
  return Array.from({ length: count }, () =>
    Array.from({ length: 16 }, () => integer(rng, config.vocabSize)),
  );
}

/** Prefills, runs the test on the cache, and asserts that nothing is left behind. */
function withCache(
  model: Model,
  rows: readonly number[][],
  prompts: number[],
  slots: number,
  test: (cache: KVCache, prompts: number[], lastHidden: Float32Array[]) => void,
): void {
  const before = tf.memory().numTensors;
  const length = Math.max(...prompts);
  const ids = new Int32Array(rows.length * length).fill(9); // padding
  rows.forEach((row, b) => {
    ids.set(row.slice(0, prompts[b]), b * length);
  });
  const cache = createCache(model.config, rows.length, slots);
  const owned = tf.memory().numTensors - before;
  expect(owned).toBe(2 * model.config.layers);
  const hidden = prefill(model, cache, ids, rows.length, length);
  expect(tf.memory().numTensors).toBe(before + owned + 1);
  const data = hidden.dataSync<'float32'>();
  const width = widthOf(model);
  const last = prompts.map((p, b) => data.slice((b * length + p - 1) * width, (b * length + p) * width));
  hidden.dispose();
  test(cache, prompts, last);
  disposeCache(cache);
  expect(tf.memory().numTensors).toBe(before);
}

/** Decodes the token at `positions[b]` of every row and compares with a full pass over the row up to it. */
function checkStep(model: Model, cache: KVCache, rows: readonly number[][], positions: number[]): void {
  const before = tf.memory().numTensors;
  const tokens = Int32Array.from(positions, (position, b) => rows[b]![position]!);
  const hidden = decodeStep(model, cache, tokens, Int32Array.from(positions));
  expect(tf.memory().numTensors).toBe(before + 1);
  expect(hidden.shape).toEqual([rows.length, widthOf(model)]);
  const data = hidden.dataSync<'float32'>();
  hidden.dispose();
  positions.forEach((position, b) => {
    const row = data.subarray(b * widthOf(model), (b + 1) * widthOf(model));
    expect(maxDifference(row, fullPass(model, rows[b]!, position))).toBeLessThan(1e-5);
  });
}

/** The hidden state of one token, by a pass over it and everything before it. */
function fullPass({ params, config }: Model, row: readonly number[], position: number): Float32Array {
  const ids = Int32Array.from(row.slice(0, position + 1));
  const hidden = forwardHidden(params, config, ids, 1, ids.length);
  const data = hidden.dataSync<'float32'>().slice(position * widthOf({ config }));
  hidden.dispose();
  return data;
}

/** What the head reads: narrower than the blocks where word embeddings are. */
const widthOf = ({ config }: Pick<Model, 'config'>): number => config.embeddingSize ?? config.hiddenSize;
