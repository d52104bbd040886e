import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CudaBackend } from '../../../src/tensor/engines/cuda/backend.js';
import { loadCuda } from '../../../src/tensor/engines/cuda/loadCuda.js';
import { tfjsKernels } from '../../../src/tensor/engines/cuda/tfjs.js';
import { elementwiseCases } from './tfjs.elementwise.js';
import { shapeCases } from './tfjs.shapes.js';
import { bool, float, int, type Spec } from './tfjs.specs.js';

const absent = spawnSync('g++', ['--version']).status === 0 ? undefined : 'no g++ here';

const cases = [...elementwiseCases, ...shapeCases];

type Result = { shape: number[]; dtype: string; values: number[] };

const tensorOf = ({ values, shape, dtype }: Spec): tf.Tensor => tf.tensor(values, shape, dtype);
const resultOf = (x: tf.Tensor): Result => ({
  shape: x.shape,
  dtype: x.dtype,
  values: Array.from(x.dataSync()),
});

/** What one of TensorFlow.js's operations gives on a backend. */
async function on(backend: string, kernel: string, given: (typeof cases)[number]): Promise<Result[]> {
  await tf.setBackend(backend);
  return tf.tidy(() => {
    const inputs = Array.isArray(given.inputs)
      ? given.inputs.map(tensorOf)
      : Object.fromEntries(Object.entries(given.inputs).map(([name, spec]) => [name, tensorOf(spec)]));
    const attrs = (given.attrs ?? {}) as tf.NamedAttrMap;
    const results = tf.engine().runKernel(kernel, inputs as tf.NamedTensorMap, attrs) as
      | tf.Tensor
      | tf.Tensor[];
    return [results].flat().map(resultOf);
  });
}

function expectSame(got: Result[], expected: Result[], tolerance: number): void {
  expect(got.map(({ shape, dtype }) => ({ shape, dtype }))).toEqual(
    expected.map(({ shape, dtype }) => ({ shape, dtype })),
  );
  got.forEach(({ values }, i) => {
    values.forEach((value, n) => {
      const right = expected[i]!.values[n]!;
      if (Object.is(value, right) || value === right) return;
      const error = Math.abs(value - right) / Math.max(1, Math.abs(right));
      if (!(error <= tolerance)) throw new Error(`result ${i}, number ${n}: ${value}, ${right} expected`);
    });
  });
}

describe.skipIf(absent)(
  `TensorFlow.js's operations on the cuda engine${absent ? ` [skipped: ${absent}]` : ''}`,
  () => {
    let backend: CudaBackend;

    beforeAll(async () => {
      createRequire(import.meta.url)('@tensorflow/tfjs');
      await tf.setBackend('cpu');
      (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
      await loadCuda({ emulated: true, seed: 1 });
      backend = tf.backend() as CudaBackend;
    });

    afterAll(() => {
      expect(backend.numDataIds()).toBe(0);
      expect(backend.device.memory().inUse).toBe(0);
    });

    it('has a case for each', () => {
      expect(new Set(cases.map(({ kernel }) => kernel))).toEqual(new Set(Object.keys(tfjsKernels)));
    });

    it.each(cases)('$kernel $about', async (given) => {
      const expected = await on('cpu', given.kernel, given);
      const got = await on('cuda', given.kernel, given);
      expectSame(got, expected, given.tolerance ?? 2e-6);
    });

    it('gives the gradients of a composite', async () => {
      const f = (x: tf.Tensor, w: tf.Tensor, b: tf.Tensor): tf.Scalar => {
        const h = tf.relu(tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), b));
        const [left, right] = tf.split(h as tf.Tensor2D, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
        const mixed = tf.mul(tf.sigmoid(left), tf.tanh(tf.maximum(right, tf.mul(left, 0.5))));
        const p = tf.softmax(tf.concat([mixed, tf.rsqrt(tf.add(tf.square(right), 1))], 1));
        const some = tf.gather(p, tf.tensor1d([2, 0, 2], 'int32'));
        const q = tf.logSoftmax(tf.slice(some, [0, 1], [3, 4]));
        const clipped = tf.clipByValue(q, -2, -0.2);
        const kept = tf.where(tensorOf(bool([3, 4])), clipped, tf.div(clipped, tf.exp(q)));
        const all = tf.addN([tf.mean(kept), tf.sum(tf.erf(tf.transpose(q))), tf.max(tf.abs(mixed))]);
        return tf.add(all, tf.sum(tf.stack(tf.unstack(tf.sqrt(p), 1)))) as tf.Scalar;
      };
      const inputs = [float([4, 5]), float([5, 6]), float([6])];
      const gradients = async (name: string): Promise<Result[]> => {
        await tf.setBackend(name);
        return tf.tidy(() => {
          const [x, w, b] = inputs.map(tensorOf) as [tf.Tensor, tf.Tensor, tf.Tensor];
          const grads = tf.grads((...args: tf.Tensor[]) => f(args[0]!, args[1]!, args[2]!));
          return [f(x, w, b), ...grads([x, w, b])].map(resultOf);
        });
      };
      expectSame(await gradients('cuda'), await gradients('cpu'), 1e-5);
    });

    it('repeats matrices over more than one dimension of a batch', async () => {
      // Plain JavaScript does it wrong, so the same with the repetition written out is what is right.
      await tf.setBackend('cuda');
      const [one, both] = tf.tidy(() => {
        const [a, b] = [tensorOf(float([2, 1, 3, 4])), tensorOf(float([1, 3, 4, 5]))];
        const wide = tf.matMul(tf.tile(a, [1, 3, 1, 1]), tf.tile(b, [2, 1, 1, 1]));
        return [tf.matMul(a, b), wide].map(resultOf);
      }) as unknown as [Result, Result];
      expectSame([one], [both], 0);
    });

    it('sums a long row to one part in a million, twice to the same bits', async () => {
      const x = float([300_000], 7);
      const exact = Array.from(x.values).reduce((sum, value) => sum + Math.fround(value + 1000), 0);
      await tf.setBackend('cuda');
      const sum = (): number => tf.tidy(() => tf.sum(tf.add(tensorOf(x), 1000)).dataSync()[0]!);
      expect(Math.abs(sum() / exact - 1)).toBeLessThan(1e-6);
      expect(sum()).toBe(sum());
    });

    it('names what is missing', async () => {
      await tf.setBackend('cuda');
      expect(() => tf.tidy(() => tf.sin(tf.tensor1d([1])))).toThrow(
        /Kernel 'Sin' not registered for backend 'cuda'/,
      );
      expect(() => tf.tidy(() => tf.matMul(tensorOf(int([2, 2])), tensorOf(int([2, 2]))))).toThrow(
        /cuda: BatchMatMul\(int32\[2,2\], int32\[2,2\]\): for float32 only/,
      );
      expect(() => tf.tensor1d(['a'])).toThrow(/no tensors of type string/);
    });

    it('shares memory between handles, and gives it back with the last', async () => {
      await tf.setBackend('cuda');
      const before = backend.device.memory().inUse;
      const x = tf.fill([40, 50], 2);
      const y = tf.reshape(x, [2000]);
      expect(backend.refCount(x.dataId)).toBe(2);
      x.dispose();
      expect(y.dataSync()[1999]).toBe(2);
      y.dispose();
      expect(backend.device.memory().inUse).toBe(before);
    });

    it('keeps what was written when the array changes later, and moves between backends', async () => {
      await tf.setBackend('cuda');
      for (const size of [3, 5000]) {
        const array = new Float32Array(size).fill(1);
        const x = tf.tensor1d(array);
        array.fill(2);
        expect(x.dataSync()[size - 1]).toBe(1);
        await tf.setBackend('cpu');
        const doubled = tf.add(x, x);
        await tf.setBackend('cuda');
        const quadrupled = tf.add(doubled, doubled);
        expect(quadrupled.dataSync()[size - 1]).toBe(4);
        tf.dispose([x, doubled, quadrupled]);
      }
    });

    it('reads bools and ints as they are', async () => {
      await tf.setBackend('cuda');
      const values = [bool([5]), int([5])].map((spec) => {
        const x = tensorOf(spec);
        const copy = tf.tidy(() => tf.concat([x, x]));
        const read = Array.from(copy.dataSync());
        tf.dispose([x, copy]);
        return [read, [...spec.values, ...spec.values].map(Number)];
      });
      for (const [got, expected] of values) expect(got).toEqual(expected);
    });
  },
);
