import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { familyNames, newModelConfig } from '../../src/models/families.js';
import { initModel } from '../../src/models/model.js';
import { scorePadded } from '../../src/scoring/padded.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';

describe('padded batches', () => {
  beforeAll(async () => void (await initBackend({ backend: 'wasm' })));
  const rows = [[5, 1, 7, 3, 2], [4], [9, 8, 7, 6, 5, 4, 3], [2, 2]];
  const T = 8;
  const PAD = 0;
  const pad = (ids: number[], side: 'left' | 'right' | 'both') => {
    const before = side === 'left' ? T - ids.length : side === 'both' ? 1 : 0;
    const after = T - ids.length - before;
    const row = (x: number[], fill: number) => [
      ...Array(before).fill(fill),
      ...x,
      ...Array(after).fill(fill),
    ];
    return { before, ids: row(ids, PAD), mask: row(Array(ids.length).fill(1), 0) };
  };

  it.each(familyNames)('%s: left or right, every row scores as it does alone', (family) => {
    const model = initModel(
      newModelConfig(family, { vocabSize: 11, hiddenSize: 16, layers: 2, heads: 4, maxPositions: 16 }),
      3,
    );
    const alone = rows.map((ids) => scoreTokens(model, [Int32Array.from(ids)])[0]!);
    const before = tf.memory().numTensors;
    for (const side of ['left', 'right', 'both'] as const) {
      const padded = rows.map((ids) => pad(ids, side));
      const scores = scorePadded(model, {
        inputIds: padded.map(({ ids }) => ids),
        attentionMask: padded.map(({ mask }) => mask),
      });
      scores.forEach((row, b) => {
        expect(row).toHaveLength(T - 1);
        const { before: shift } = padded[b]!;
        row.forEach((x, t) => {
          const expected = alone[b]![t - shift];
          if (expected === undefined) expect(x).toBeNaN();
          else expect(Math.abs(x - expected)).toBeLessThan(1e-5);
        });
      });
    }
    expect(tf.memory().numTensors).toBe(before);
    disposeParams(model.params);
  });

  it('refuses a mask that does not fit or has a gap', () => {
    const model = initModel(
      newModelConfig('gpt2', { vocabSize: 11, hiddenSize: 8, layers: 1, heads: 2, maxPositions: 16 }),
      3,
    );
    const score = (mask: number[]) => scorePadded(model, { inputIds: [[1, 2, 3]], attentionMask: [mask] });
    expect(() => score([1, 1])).toThrow(UsageError);
    expect(() => score([1, 0, 1])).toThrow(/row 0: the attention mask has a gap/);
    expect(() => score([1, 2, 1])).toThrow(/3 zeros and ones/);
    expect(Array.from(score([0, 0, 0])[0]!)).toEqual([Number.NaN, Number.NaN]);
    disposeParams(model.params);
  });
  afterAll(() => tf.disposeVariables());
});
