import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { addGradients } from '../../src/optim/accumulate.js';
import { scaleByAdam } from '../../src/optim/adam.js';
import { clipByGlobalNorm, globalNorm } from '../../src/optim/clip.js';
import { scaleByLearningRate } from '../../src/optim/links.js';
import { schedules } from '../../src/optim/schedules.js';
import { disposeState, flattenState, restoreState } from '../../src/optim/state.js';
import { applyUpdates, chain } from '../../src/optim/transform.js';
import { initBackend } from '../../src/tensor/backend.js';
import { linear } from '../../src/tensor/ops/maps.js';
import { tokenLogprob } from '../../src/tensor/ops/tokenLogprob.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';

const list = (x: tf.Tensor) => Array.from(x.dataSync());

beforeAll(async () => {
  await initBackend({ backend: 'cpu' });
});

describe('clipByGlobalNorm', () => {
  it('literal: (3, 4) has norm 5 and is clipped to norm 1 over all tensors together', () => {
    const clip = clipByGlobalNorm(1);
    const grads: Params = { a: tf.tensor1d([3, 0]), b: tf.tensor2d([[4]]) };
    const [updates, state] = clip.update(grads, clip.init(grads), grads);
    expect(state.norm).toBe(5);
    expect(list(updates.a!)[0]).toBeCloseTo(0.6, 5);
    expect(list(updates.b!)[0]).toBeCloseTo(0.8, 5);
    expect(list(grads.a!)).toEqual([3, 0]);
    tf.dispose([grads, updates]);
  });
  it('leaves a short gradient alone, and still says its norm', () => {
    const clip = clipByGlobalNorm(10);
    const grads: Params = { a: tf.tensor1d([3, 4]) };
    const [updates, state] = clip.update(grads, clip.init(grads), grads);
    expect(state.norm).toBe(5);
    expect(updates.a).toBe(grads.a);
    tf.dispose(grads);
  });
  it('the norm of no gradient is 0, of a broken one NaN', () => {
    expect(globalNorm({})).toBe(0);
    const grads: Params = { a: tf.tensor1d([1, Number.NaN]) };
    expect(globalNorm(grads)).toBeNaN();
    tf.dispose(grads);
  });
});

describe('schedules', () => {
  const options = { peak: 1, warmup: 4, steps: 12, floor: 0.2 };
  const at = (schedule: (step: number) => number, steps: number[]) =>
    steps.map((s) => +schedule(s).toFixed(6));
  it('constant', () => {
    expect(at(schedules.constant(options), [0, 1, 2, 3, 4, 11, 1000])).toEqual([0.25, 0.5, 0.75, 1, 1, 1, 1]);
  });
  it('cosine: half way at the mean of peak and floor, then the floor', () => {
    expect(at(schedules.cosine(options), [0, 3, 4, 6, 8, 12, 50])).toEqual([
      0.25, 1, 1, 0.882843, 0.6, 0.2, 0.2,
    ]);
  });
  it('linear', () => {
    expect(at(schedules.linear(options), [3, 4, 6, 8, 12, 13])).toEqual([1, 1, 0.8, 0.6, 0.2, 0.2]);
  });
  it('without warm-up, and with no steps left after it', () => {
    expect(at(schedules.linear({ ...options, warmup: 0 }), [0, 6, 12])).toEqual([1, 0.6, 0.2]);
    expect(at(schedules.cosine({ ...options, warmup: 12 }), [11, 12, 13])).toEqual([1, 1, 0.2]);
  });
});

describe('chain', () => {
  it('feeds each link the updates of the one before and keeps the states by name', () => {
    const tx = chain({ clip: clipByGlobalNorm(1), rate: scaleByLearningRate((step) => 0.1 * (step + 1)) });
    const params: Params = { w: tf.tensor1d([1, 1]) };
    const grads: Params = { w: tf.tensor1d([0, 2]) };
    const [first, state] = tx.update(grads, tx.init(params), params);
    expect(state).toEqual({ clip: { norm: 2 }, rate: { count: 1, rate: 0.1 } });
    const after = applyUpdates(params, first);
    expect(list(after.w!)[0]).toBe(1);
    expect(list(after.w!)[1]).toBeCloseTo(0.9, 5);
    const [second, later] = tx.update(grads, state, params);
    expect(list(second.w!)[1]).toBeCloseTo(-0.2, 5);
    expect(later.rate.count).toBe(2);
    tf.dispose([params, grads, first, second, after]);
  });
});

describe('restoreState', () => {
  it('names what does not belong, what is missing and what has another shape', () => {
    const adam = scaleByAdam({ beta1: 0.9, beta2: 0.95, eps: 1e-8 });
    const params: Params = { w: tf.zeros([2, 3]) };
    const like = adam.init(params);
    const good = flattenState(like);
    expect(restoreState(like, good)).toEqual(like);
    const other = { ...good.tensors, 'first/w': tf.zeros([3, 2]) };
    expect(() => restoreState(like, { ...good, tensors: other })).toThrow(
      'optimizer state: "first/w": shape [3,2] found, shape [2,3] expected',
    );
    const { 'second/w': _, ...rest } = good.tensors;
    expect(() => restoreState(like, { ...good, tensors: rest })).toThrow('"second/w": nothing found');
    expect(() => restoreState(like, { ...good, numbers: {} })).toThrow('number "count" is missing');
    expect(() => restoreState(like, { ...good, numbers: { count: 0, step: 1 } })).toThrow(UsageError);
    tf.dispose([params, other]);
    disposeState(like);
  });
});

describe('addGradients', () => {
  it('literal: a sum of weighted gradients; both arguments are consumed', () => {
    const before = tf.memory().numTensors;
    let total = addGradients(undefined, { w: tf.tensor1d([1, 2]) }, 0.5);
    total = addGradients(total, { w: tf.tensor1d([10, 20]) }, 2);
    total = addGradients(total, { w: tf.tensor1d([100, 100]) });
    expect(list(total.w!)).toEqual([120.5, 141]);
    expect(tf.memory().numTensors).toBe(before + 1);
    disposeParams(total);
    const first: Params = { w: tf.tensor1d([1]) };
    expect(addGradients(undefined, first)).toBe(first);
    disposeParams(first);
  });
  it('micro-batches of unequal size, weighted by their tokens, give the gradient of the big batch', () => {
    const x = [0.5, -1, 2, 0.25, 1, 1, -2, 0.75, 0, 3, 1.5, -0.5]; // six tokens of two features
    const labels = [0, 2, 1, 1, 2, 0];
    const params: Params = {
      w: tf.tensor2d([0.1, -0.2, 0.3, 0.5, 0.4, -0.6], [2, 3]),
      b: tf.tensor1d([0, 0.1, 0.2]),
    };
    const grads = (from: number, to: number): Params => {
      const { value, grads } = tf.tidy(() =>
        valueAndGrads((p) => {
          const rows = tf.tensor2d(x.slice(2 * from, 2 * to), [to - from, 2]);
          const logits = linear(rows, p.w as tf.Tensor2D, p.b as tf.Tensor1D);
          const logprobs = tokenLogprob(logits, tf.tensor1d(labels.slice(from, to), 'int32'));
          return tf.neg(tf.mean<tf.Scalar>(logprobs));
        }, params),
      );
      value.dispose();
      return grads;
    };
    const big = grads(0, 6);
    let total: Params | undefined;
    for (const [from, to] of [
      [0, 1],
      [1, 4],
      [4, 6],
    ] as const) {
      total = addGradients(total, grads(from, to), (to - from) / 6);
    }
    for (const name of ['w', 'b']) {
      const expected = list(big[name]!);
      list(total![name]!).forEach((g, i) => {
        expect(g).toBeCloseTo(expected[i]!, 6);
      });
    }
    tf.dispose([params, big, total!]);
  });
});
