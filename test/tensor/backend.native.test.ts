import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { initBackend } from '../../src/tensor/backend.js';

const info = await initBackend({ backend: 'tensorflow', threads: 1 }).catch((error: Error) => error.message);
const absent = typeof info === 'string' ? info : undefined;

describe.skipIf(absent)(`the native backend${absent ? ` [skipped: ${absent}]` : ''}`, () => {
  it('says what it is', () => {
    expect(info).toMatchObject({ name: 'tensorflow', reason: 'asked for', failures: [], threads: 1 });
    expect((info as { engine: string }).engine).toMatch(
      /^TensorFlow 2\.\d+\.\d+ \(@tensorflow\/tfjs-node(-gpu)?\)$/,
    );
    expect(process.env.TF_NUM_INTRAOP_THREADS).toBe('1');
  });

  it('is the first of the ladder', async () => {
    expect(await initBackend()).toMatchObject({ name: 'tensorflow', reason: 'the fastest', threads: 1 });
  });

  it('refuses other threads after its pool is made, never silently', async () => {
    await expect(initBackend({ threads: 2 })).rejects.toThrow(UsageError);
    await expect(initBackend({ threads: 2 })).rejects.toThrow(
      /1 threads in this process already; 2 need a new process/,
    );
  });

  it('has the helpers that newer versions of Node removed, and that topk calls', () => {
    const { isNullOrUndefined, isArray } = util as unknown as Record<string, (x: unknown) => boolean>;
    expect([null, undefined, 0, ''].map((x) => isNullOrUndefined!(x))).toEqual([true, true, false, false]);
    expect([isArray!([]), isArray!({})]).toEqual([true, false]);
    expect(Array.from(tf.topk(tf.tensor1d([1, 3, 2]), 2).values.dataSync())).toEqual([3, 2]);
  });
});
