import { spawnSync } from 'node:child_process';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CudaBackend } from '../../../src/tensor/engines/cuda/backend.js';
import type { CudaKernel } from '../../../src/tensor/engines/cuda/call.js';
import type { Device } from '../../../src/tensor/engines/cuda/device.js';
import { openEmulator } from '../../../src/tensor/engines/cuda/openDevice.js';
import { createRun } from '../../../src/tensor/engines/cuda/run.js';
import { registerTfjs } from '../../../src/tensor/engines/cuda/tfjs.js';
import type { RunNamed } from '../../../src/tensor/engines/named.js';

const absent = spawnSync('g++', ['--version']).status === 0 ? undefined : 'no g++ here';

/** Kernels that show what a run does with what they return. */
const table: Record<string, CudaKernel> = {
  /** A copy by way of scratch memory, and the input itself. */
  CopyAndSelf({ device, inputs: [x], out, scratch }) {
    const between = scratch(4 * x!.size);
    const y = out([x!.size]);
    out([100]);
    device.copy(between, x!.address, 4 * x!.size);
    device.copy(y.address, between, 4 * x!.size);
    return [y, x!];
  },
  Fails({ out, scratch }) {
    out([50]);
    scratch(1000);
    throw new Error('cannot\nmore');
  },
  Empty: ({ out }) => [out([0, 3])],
};

describe.skipIf(absent)(`runs of the table's kernels${absent ? ` [skipped: ${absent}]` : ''}`, () => {
  let device: Device;
  let run: RunNamed;

  beforeAll(async () => {
    device = await openEmulator({ seed: 3 });
    const backend = new CudaBackend(device);
    registerTfjs();
    tf.registerBackend('cuda', () => backend);
    await tf.setBackend('cuda');
    run = createRun(device, backend, table);
  });

  afterEach(() => {
    expect(tf.memory().numTensors).toBe(0);
    expect(device.memory().inUse).toBe(0);
  });

  afterAll(() => tf.removeBackend('cuda'));

  it('makes tensors of memory it gave, handles of inputs, and frees the rest', () => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const [copy, self] = run('CopyAndSelf', {}, [x], 2) as [tf.Tensor, tf.Tensor];
    expect(tf.backend().refCount(x.dataId)).toBe(2);
    expect(self.shape).toEqual([2, 2]);
    x.dispose();
    expect([...copy.dataSync(), ...self.dataSync()]).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
    tf.dispose([copy, self]);
    tf.tidy(() => {
      expect(run('CopyAndSelf', {}, [tf.tensor1d([5])], 1)).toHaveLength(1);
      expect(run('Empty', {}, [], 1)[0]!.dataSync()).toHaveLength(0);
    });
  });

  it('says in one line which kernel failed and on what, and keeps nothing', () => {
    const x = tf.tensor2d([1, 2], [1, 2]);
    const ids = tf.tensor1d([1], 'int32');
    expect(() => run('Fails', {}, [x, ids], 1)).toThrow(/^cuda: Fails\(\[1,2\], int32\[1\]\): cannot$/);
    expect(() => run('Nothing', {}, [x], 1)).toThrow('cuda: Nothing([1,2]): the cuda engine has no such');
    expect(() => run('CopyAndSelf', {}, [x], 3)).toThrow('3 results were expected, 2 given');
    tf.dispose([x, ids]);
  });

  it('writes rows in place, seen through every handle', () => {
    const buffer = tf.fill([4, 3], 1) as tf.Tensor2D;
    const rows = tf.tensor1d([2, 0], 'int32');
    const values = tf.tensor2d([5, 6, 7, 8, 9, 10], [2, 3]);
    const [written] = run('MinillmWriteRows', {}, [buffer, rows, values], 1) as [tf.Tensor];
    const expected = [8, 9, 10, 1, 1, 1, 5, 6, 7, 1, 1, 1];
    expect([...written.dataSync()]).toEqual(expected);
    expect([...buffer.dataSync()]).toEqual(expected);
    tf.dispose([buffer, rows, values, written]);
  });

  it('copies into memory of its own', () => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const [copy] = run('MinillmCopy', {}, [x], 1) as [tf.Tensor];
    const rows = tf.tensor1d([0], 'int32');
    const values = tf.tensor2d([9, 9], [1, 2]);
    tf.dispose(run('MinillmWriteRows', {}, [x, rows, values], 1));
    expect([...copy.dataSync()]).toEqual([1, 2, 3, 4]);
    expect([...x.dataSync()]).toEqual([9, 9, 3, 4]);
    tf.dispose([x, copy, rows, values]);
  });
});
