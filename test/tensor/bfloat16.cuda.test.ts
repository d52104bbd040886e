import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { forwardHidden } from '../../src/models/model.js';
import { adamw } from '../../src/optim/adamw.js';
import { disposeState } from '../../src/optim/state.js';
import { stream } from '../../src/random/streams.js';
import { halfMatrix } from '../../src/tensor/halves.js';
import { kernels } from '../../src/tensor/kernels.js';
import { disposeParams } from '../../src/tensor/params.js';
import { emulatorAbsent } from '../helpers/emulator.js';
import { tinyModel } from '../helpers/models.js';

const absent = await emulatorAbsent(1, 'bfloat16');

/** Rounding to 8 significant bits: a factor is off by 2^-8 of itself at most, a product of two by twice that and a little. */
const FACTOR = 2 ** -8;
const PRODUCT = 2 * FACTOR + FACTOR ** 2;

const rng = stream(7, 'bfloat16');
const random = (rows: number, columns: number): Float32Array =>
  Float32Array.from({ length: rows * columns }, () => 2 * rng() - 1);
const matrix = (x: Float32Array, rows: number, columns: number) => tf.tensor2d(x, [rows, columns]);

/** Σ_k a_ik b_kj in float64, and Σ_k |a_ik b_kj|, which bounds its error. */
function exact(
  a: (i: number, k: number) => number,
  b: (k: number, j: number) => number,
  [rows, inner, columns]: [number, number, number],
): { sums: number[]; sizes: number[] } {
  const found = { sums: [] as number[], sizes: [] as number[] };
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const terms = Array.from({ length: inner }, (_, k) => a(i, k) * b(k, j));
      found.sums.push(terms.reduce((sum, x) => sum + x, 0));
      found.sizes.push(terms.reduce((sum, x) => sum + Math.abs(x), 0));
    }
  return found;
}

function expectRounded(got: ArrayLike<number>, { sums, sizes }: ReturnType<typeof exact>): void {
  const errors = sums.map((sum, i) => Math.abs(got[i]! - sum) / sizes[i]!);
  expect(Math.max(...errors)).toBeLessThan(PRODUCT + 1e-6);
  // Were the factors not rounded, float32 would leave no error of this size.
  expect(Math.max(...errors)).toBeGreaterThan(1e-5);
}

describe.skipIf(absent)(
  `bfloat16 on the CUDA engine${absent ? ` [skipped: ${absent}]` : ', emulated'}`,
  () => {
    let before = 0;
    const inUse = (): number => (tf.memory() as unknown as { device: { inUse: number } }).device.inUse;
    beforeEach(() => {
      before = inUse();
    });
    afterEach(() => {
      expect(inUse()).toBe(before);
    });

    it('every product is that of float64 within the rounding of its factors', () => {
      const [n, d, f] = [5, 37, 21];
      const [x, w, dy] = [random(n, d), random(d, f), random(n, f)];
      const at = (m: Float32Array, columns: number) => (i: number, j: number) => m[i * columns + j]!;
      const turned = (m: Float32Array, columns: number) => (i: number, j: number) => m[j * columns + i]!;
      tf.tidy(() => {
        const [X, W, DY] = [matrix(x, n, d), matrix(w, d, f), matrix(dy, n, f)];
        const none = tf.zeros([f]) as tf.Tensor1D;
        const flat = tf.ones([n, d]) as tf.Tensor2D;
        const y = kernels().matMul(X, W).dataSync();
        expectRounded(y, exact(at(x, d), at(w, f), [n, d, f]));
        const back = exact(at(dy, f), turned(w, f), [n, f, d]);
        expectRounded(kernels().matMul(DY, W, { transposeB: true }).dataSync(), back);
        expectRounded(kernels().geluLinearGrad(DY, W, flat).dataSync(), back);
        const [dw, db] = kernels().weightGrads(X, DY);
        expectRounded(dw.dataSync(), exact(turned(x, d), at(dy, f), [d, n, f]));
        // Sums without a product stay float32.
        const columns = Array.from({ length: f }, (_, j) => {
          return Array.from({ length: n }, (_, i) => dy[i * f + j]!).reduce((sum, v) => sum + v, 0);
        });
        for (const [j, sum] of columns.entries()) expect(db.dataSync()[j]).toBeCloseTo(sum, 5);
        // gelu(u) has a slope of 1.13 at most.
        const [h] = kernels().linearGelu(X, W, none, false);
        const { sums, sizes } = exact(at(x, d), at(w, f), [n, d, f]);
        const gelu = (u: number) => u / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (u + 0.044715 * u ** 3)));
        for (const [i, u] of sums.entries())
          expect(Math.abs(h.dataSync()[i]! - gelu(u))).toBeLessThan(1.13 * (PRODUCT + 1e-6) * sizes[i]!);
        const batches = tf.matMul(tf.reshape(X, [1, n, d]), tf.reshape(W, [1, d, f])).dataSync();
        expect([...batches]).toEqual([...y]);
      });
    });

    it('rounds to the nearest, ties to even, and leaves what bfloat16 has as it is', () => {
      // 1 + 2^-8 lies between 1 and 1 + 2^-7: to even is 1; 1 + 3·2^-8 goes up to 1 + 2^-6.
      const given = [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -16, -3.140625, 2 ** -126, -0];
      const expected = [1, 1, 1 + 2 ** -6, 1 + 2 ** -7, -3.140625, 2 ** -126, 0];
      tf.tidy(() => {
        const x = matrix(Float32Array.from(given), given.length, 1);
        const rounded = kernels()
          .matMul(x, tf.tensor2d([[1]]))
          .dataSync();
        expect(Array.from(rounded, (y) => y + 0)).toEqual(expected);
        const bad = kernels().matMul(
          tf.tensor2d([[Number.NaN], [Number.POSITIVE_INFINITY]]),
          tf.tensor2d([[1]]),
        );
        expect([...bad.dataSync()]).toEqual([Number.NaN, Number.POSITIVE_INFINITY]);
      });
    });

    it('copies of weights are kept, made anew after an update in place, and freed with the weights', () => {
      const x = tf.tensor2d([[1, 2]]);
      const optimizer = adamw({
        learningRate: () => 0.5,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weightDecay: 0,
      });
      let params = { w: tf.tensor2d([[1], [1]]) as tf.Tensor };
      const product = (): number =>
        tf.tidy(
          () =>
            kernels()
              .matMul(x, params.w as tf.Tensor2D)
              .dataSync()[0]!,
        );
      expect(product()).toBe(3);
      const once = inUse();
      expect(product()).toBe(3);
      expect(inUse()).toBe(once);
      const grads = { w: tf.tensor2d([[1], [1]]) as tf.Tensor };
      const state = optimizer.init(params);
      const next = optimizer.step(grads, state, params, 1);
      params = next.params as typeof params;
      // Both weights took a step of -0.5.
      expect(product()).toBeCloseTo(1.5, 5);
      tf.tidy(() => void kernels().writeRows(params.w as tf.Tensor2D, Int32Array.of(1), tf.tensor2d([[4]])));
      expect(product()).toBeCloseTo(8.5, 5);
      tf.dispose([x, params, grads]);
      disposeState(next.state);
    });

    it('weights that are bfloat16 are multiplied by as they lie, those of an odd width by a copy for the call', () => {
      for (const width of [6, 5]) {
        // 7 bits of fraction: bfloat16 has them exactly.
        const w = Float32Array.from(random(4, width), (v) => Math.round(128 * v) / 128);
        tf.tidy(() => {
          const [X, W, half] = [
            matrix(random(3, 4), 3, 4),
            matrix(w, 4, width),
            halfMatrix(w, [4, width], 'bfloat16'),
          ];
          const expected = kernels().matMul(X, W).dataSync();
          const y = kernels().matMul(X, half);
          expect(y.dataSync()).toEqual(expected);
          const once = inUse();
          kernels().matMul(X, half).dispose();
          expect(inUse()).toBe(once);
        });
      }
    });

    it('models in pieces and token by token agree, near to their float32', () => {
      const model = tinyModel(3, { vocab: 24, layers: 2, positions: 16 });
      const ids = Int32Array.from({ length: 12 }, (_, i) => (7 * i + 3) % 24);
      tf.tidy(() => {
        const all = forwardHidden(model.params, model.config, ids, 2, 6).dataSync();
        const cache = createCache(model.config, 2, 6);
        const start = Int32Array.from([...ids.slice(0, 5), ...ids.slice(6, 11)]);
        prefill(model, cache, start, 2, 5);
        const last = decodeStep(
          model,
          cache,
          Int32Array.of(ids[5]!, ids[11]!),
          Int32Array.of(5, 5),
        ).dataSync();
        const width = last.length / 2;
        for (let i = 0; i < width; i++) {
          expect(Math.abs(last[i]! - all[5 * width + i]!)).toBeLessThan(0.02);
          expect(Math.abs(last[width + i]! - all[11 * width + i]!)).toBeLessThan(0.02);
        }
        disposeCache(cache);
      });
      disposeParams(model.params);
    });
  },
);
