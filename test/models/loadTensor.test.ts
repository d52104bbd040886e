import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTensor, pieceFor } from '../../src/models/loadTensor.js';
import { writeSafetensors } from '../../src/models/safetensorsWriter.js';
import { openWeights, type Weights } from '../../src/models/weights.js';
import { initBackend } from '../../src/tensor/backend.js';
import { halfOf, unpackHalves } from '../../src/tensor/halves.js';

await initBackend();
const root = mkdtempSync(join(tmpdir(), 'minillm-load-'));
const ROWS = 37;
const COLUMNS = 23;
const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => i);
let weights: Weights;

beforeAll(async () => {
  const spoilt = values.slice();
  spoilt[5 * COLUMNS + 4] = Number.NaN;
  await writeSafetensors(join(root, 'model.safetensors'), [
    { name: 'm', shape: [ROWS, COLUMNS], data: values },
    { name: 'bad', shape: [ROWS, COLUMNS], data: spoilt },
    { name: 'big', shape: [ROWS, COLUMNS], data: values.with(3 * COLUMNS + 2, 65520) },
    { name: 'v', shape: [COLUMNS], data: values.slice(0, COLUMNS) },
  ]);
  weights = await openWeights(root);
});
afterAll(async () => {
  await weights.close();
  rmSync(root, { recursive: true });
});

const spec = (shape: number[], transposed: boolean) => ({ shape, transposed, init: 'zeros' as const });

describe('a tensor that comes in pieces', () => {
  // Pieces of one row, of some rows with a rest, of the whole.
  it.each([COLUMNS, 5 * COLUMNS + 3, values.length])(
    'as it lies in the file, %i values at a time',
    async (size) => {
      const tensor = await loadTensor(weights, 'm', spec([ROWS, COLUMNS], false), new Float32Array(size));
      expect(tensor.shape).toEqual([ROWS, COLUMNS]);
      expect(tensor.dataSync()).toEqual(values);
      tensor.dispose();
    },
  );

  it.each([ROWS, 5 * ROWS + 3, values.length])('transposed, %i values at a time', async (size) => {
    const tensor = await loadTensor(weights, 'm', spec([COLUMNS, ROWS], true), new Float32Array(size));
    expect(tensor.shape).toEqual([COLUMNS, ROWS]);
    const expected = Float32Array.from(
      values,
      (_, i) => values[(i % ROWS) * COLUMNS + Math.floor(i / ROWS)]!,
    );
    expect(tensor.dataSync()).toEqual(expected);
    tensor.dispose();
  });

  it('a vector, and nothing is left behind', async () => {
    const before = tf.memory().numTensors;
    const tensor = await loadTensor(weights, 'v', spec([COLUMNS], false), new Float32Array(COLUMNS));
    expect([tensor.shape, tensor.dataSync()]).toEqual([[COLUMNS], values.slice(0, COLUMNS)]);
    tensor.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it.each([
    ['as it lies', spec([ROWS, COLUMNS], false)],
    ['transposed', spec([COLUMNS, ROWS], true)],
  ])('names the element that is not finite by its place in the file, %s', async (_, shape) => {
    const before = tf.memory().numTensors;
    const load = loadTensor(weights, 'bad', shape, new Float32Array(3 * ROWS));
    await expect(load).rejects.toThrow(`tensor "bad" holds NaN at element ${5 * COLUMNS + 4}`);
    expect(tf.memory().numTensors).toBe(before);
  });

  // Whole numbers below 2^11 are float16 as they are; bfloat16 rounds from 2^8 on, 257 to 256 and 259 to 260.
  it.each(['bfloat16', 'float16'] as const)('in %s, as it lies and transposed', async (dtype) => {
    for (const [shape, transposed] of [[[ROWS, COLUMNS], false] as const, [[COLUMNS, ROWS], true] as const]) {
      const tensor = await loadTensor(
        weights,
        'm',
        spec([...shape], transposed),
        new Float32Array(3 * 37),
        dtype,
      );
      expect(halfOf(tensor)).toEqual({ dtype, shape });
      const found = unpackHalves(tensor.dataSync<'int32'>(), shape[1], dtype);
      const at = (i: number) => (transposed ? (i % ROWS) * COLUMNS + Math.floor(i / ROWS) : i);
      const rounded = (x: number) => {
        const unit = dtype === 'float16' ? 1 : 2 ** Math.max(0, Math.floor(Math.log2(x)) - 7);
        const [down, rest] = [Math.floor(x / unit), (x % unit) / unit];
        return unit * (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down);
      };
      expect([...found]).toEqual(Array.from(found, (_, i) => rounded(at(i))));
      tensor.dispose();
    }
    const vector = await loadTensor(weights, 'v', spec([COLUMNS], false), new Float32Array(COLUMNS), dtype);
    expect([vector.dtype, vector.dataSync()]).toEqual(['float32', values.slice(0, COLUMNS)]);
    vector.dispose();
  });

  it.each([false, true])(
    'refuses what float16 cannot hold, by its place (transposed: %s)',
    async (transposed) => {
      const before = tf.memory().numTensors;
      const shape = spec(transposed ? [COLUMNS, ROWS] : [ROWS, COLUMNS], transposed);
      const load = loadTensor(weights, 'big', shape, new Float32Array(3 * ROWS), 'float16');
      await expect(load).rejects.toThrow(
        `tensor "big" holds 65520 at element ${3 * COLUMNS + 2}, beyond the range of float16; load it as bfloat16 or float32`,
      );
      expect(tf.memory().numTensors).toBe(before);
      (await loadTensor(weights, 'big', shape, new Float32Array(3 * ROWS), 'bfloat16')).dispose();
    },
  );

  it('a piece is a thirtieth of a large model, but has room for its widest row', () => {
    const size = (...shapes: number[][]) =>
      pieceFor(Object.fromEntries(shapes.map((shape, i) => [String(i), spec(shape, false)]))).length;
    expect(size([3, 4], [5])).toBe(12);
    expect(size([30000, 1000], [30000, 1000])).toBe(2_000_000);
    const halves = { a: spec([60000, 1000], false), b: spec([60000, 1000], false) };
    expect(pieceFor(halves, 'bfloat16').length).toBe(2_000_000);
    expect(size([2, 3_000_000], [5])).toBe(3_000_000);
  });
});
