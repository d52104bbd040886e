import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { engineName } from '../../src/tensor/kernels.js';
import * as ops from '../../src/tensor/ops/index.js';
import { product, weightGradients } from '../../src/tensor/ops/linear.js';
import { expectClose, gaussian } from './gradcheck.js';
import * as reference from './ops.reference.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => (engineName() === 'tensorflow' ? undefined : 'our kernels are not compiled'),
  (error: Error) => error.message,
);

// Rows, columns, inner: on both sides of every threshold of the kernels, with whole panels and without.
const shapes = [
  [1, 33, 7],
  [1, 70, 300],
  [3, 97, 264],
  [8, 1100, 520],
  [12, 64, 256],
  [13, 600, 257],
  [16, 121, 280],
  [24, 100, 520],
  [64, 70, 300],
  [96, 5, 11000],
  [100, 257, 31],
  [128, 320, 96],
  [130, 520, 260],
  [257, 130, 513],
] as const;

describe('matrix products of our kernels', () => {
  if (absent) it.skip(`skipped: ${absent}`);
  else {
    it.each(shapes)('[%i, %i], inner %i: within 1e-5 of float64; each order the same bits', (M, N, K) => {
      const [x, w, b] = [gaussian([M, K], 'x', 0.3), gaussian([K, N], 'w', 0.3), gaussian([N], 'b')];
      const residual = gaussian([M, N], 'residual');
      const expected = reference.matMul(x.values, w.values, K);
      tf.tidy(() => {
        const [tx, tw] = [tf.tensor2d(x.values, [M, K]), tf.tensor2d(w.values, [K, N])];
        const y = product(tx, tw).dataSync();
        expectClose(y, expected, 1e-5, 'product');
        const ends = product(tx, tw, tf.tensor1d(b.values), tf.tensor2d(residual.values, [M, N]));
        expectClose(
          ends.dataSync(),
          expected.map((v, i) => v + b.values[i % N]! + residual.values[i]!),
          1e-5,
          'with bias and residual',
        );
        // What is multiplied by panels, by strips or by blocks depends on the number of rows and on the order in memory.
        expect(ops.unembed(tx, tf.transpose(tw)).dataSync(), 'b transposed').toEqual(y);
        const [dw, sums] = weightGradients(tf.transpose(tx), tw, {
          weight: tf.zeros([1, 1]),
          bias: tf.zeros([1]),
        });
        expect(dw!.dataSync(), 'a transposed').toEqual(y);
        expectClose(sums!.dataSync(), columnSums(w.values, N), 1e-5, 'sums of columns');
        // Few rows by a transpose are squares of it, or lanes where they fill registers, or panels.
        for (const rows of [1, 2, 5, 7, 8, 12, 16, 24, 40].filter((rows) => rows < M)) {
          const last = tf.slice(tx, [M - rows, 0], [rows, K]);
          const expectSame = (some: tf.Tensor, what: string) =>
            expect(some.dataSync(), `the last ${rows} rows alone${what}`).toEqual(y.slice((M - rows) * N));
          expectSame(product(last, tw), '');
          expectSame(ops.unembed(last, tf.transpose(tw)), ', b transposed');
        }
      });
    });
    it.each([3, 300])('a sum over no rows is 0: %i columns of a', (width) => {
      for (const bias of [true, false]) {
        const grads = tf.tidy(() =>
          weightGradients(tf.zeros([0, width]), tf.zeros([0, 40]), {
            weight: tf.zeros([1, 1]),
            ...(bias && { bias: tf.zeros([1]) }),
          }),
        );
        expect(Array.from(grads[0]!.dataSync())).toEqual(new Array<number>(width * 40).fill(0));
        tf.dispose(grads);
      }
    });
  }
});

function columnSums(values: number[], width: number): number[] {
  const sums = new Array<number>(width).fill(0);
  values.forEach((v, i) => {
    sums[i % width]! += v;
  });
  return sums;
}
