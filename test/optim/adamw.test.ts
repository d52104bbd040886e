import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { adamw } from '../../src/optim/adamw.js';
import { disposeState, flattenState, restoreState } from '../../src/optim/state.js';
import { applyStep } from '../../src/optim/transform.js';
import { normal, stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams, type Params } from '../../src/tensor/params.js';

type Values = { weight: number[]; bias: number[] };

const tensors = (values: Values): Params => ({
  weight: tf.tensor2d(values.weight, [2, 3]),
  bias: tf.tensor1d(values.bias),
});

function expectValues(params: Params, expected: Values, tolerance: number) {
  for (const name of ['weight', 'bias'] as const) {
    const found = params[name]!.dataSync();
    expected[name].forEach((value, i) => {
      expect(Math.abs(found[i]! - value), `${name}[${i}]: ${found[i]} for ${value}`).toBeLessThan(tolerance);
    });
  }
}

/** torch.optim.AdamW as its documentation's pseudo-code says, in float64, one number at a time. */
function slowAdamW(options: { lr: number; beta1: number; beta2: number; eps: number; decay: number }) {
  const { lr, beta1, beta2, eps, decay } = options;
  const moments = new Map<string, { m: number; v: number }>();
  return (values: Values, grads: Values, t: number): Values => {
    const next = structuredClone(values);
    for (const name of ['weight', 'bias'] as const) {
      values[name].forEach((p, i) => {
        const { m, v } = moments.get(name + i) ?? { m: 0, v: 0 };
        const g = grads[name][i]!;
        const state = { m: beta1 * m + (1 - beta1) * g, v: beta2 * v + (1 - beta2) * g * g };
        moments.set(name + i, state);
        const decayed = name === 'weight' ? p - lr * decay * p : p;
        const mHat = state.m / (1 - beta1 ** t);
        const vHat = state.v / (1 - beta2 ** t);
        next[name][i] = decayed - (lr * mHat) / (Math.sqrt(vHat) + eps);
      });
    }
    return next;
  };
}

function randomValues(...address: (string | number)[]): Values {
  const rng = stream(3, ...address);
  const numbers = (n: number) => Array.from({ length: n }, () => Math.fround(normal(rng)));
  return { weight: numbers(6), bias: numbers(3) };
}

for (const backend of ['cpu', 'tensorflow'] as const) {
  const missing =
    backend === 'cpu'
      ? undefined
      : await initBackend({ backend }).then(
          () => undefined,
          (error: Error) => error.message,
        );
  describe(`AdamW on ${backend}${missing ? `, skipped: ${missing}` : ''}`, {
    skip: missing !== undefined,
  }, () => {
    beforeAll(async () => {
      await initBackend({ backend });
    });

    it('literal: the first step moves every parameter by lr · sign(g) when eps is 0', () => {
      const optimizer = adamw({ learningRate: 0.5, eps: 0 });
      const params: Params = { w: tf.tensor1d([1, 2, 3]) };
      const grads: Params = { w: tf.tensor1d([0.1, -7, 0.003]) };
      const next = optimizer.step(grads, optimizer.init(params), params);
      const found = next.params.w!.dataSync();
      [0.5, 2.5, 2.5].forEach((value, i) => {
        expect(found[i]).toBeCloseTo(value, 6);
      });
      tf.dispose([next.params, grads]);
      disposeState(next.state);
    });

    it('literal: epsilon is added after the bias correction', () => {
      // g = 1: m̂ = v̂ = 1, so the step is lr / (1 + eps) = 0.5 with eps = 1. TensorFlow's convention would give
      // 1 / (1 + 1/sqrt(1 − β2)) = 0.0909 for β2 = 0.99.
      const optimizer = adamw({ learningRate: 1, beta2: 0.99, eps: 1 });
      const params: Params = { w: tf.tensor1d([0]) };
      const grads: Params = { w: tf.tensor1d([1]) };
      const next = optimizer.step(grads, optimizer.init(params), params);
      expect(next.params.w!.dataSync()[0]).toBeCloseTo(-0.5, 6);
      tf.dispose([next.params, grads]);
      disposeState(next.state);
    });

    it('literal: decay shrinks matrices by lr · rate and leaves vectors alone', () => {
      const optimizer = adamw({ learningRate: 0.1, weightDecay: 0.5 });
      const params: Params = { matrix: tf.tensor2d([[10]]), vector: tf.tensor1d([10]) };
      const grads: Params = { matrix: tf.tensor2d([[0]]), vector: tf.tensor1d([0]) };
      const next = optimizer.step(grads, optimizer.init(params), params);
      expect(next.params.matrix!.dataSync()[0]).toBeCloseTo(9.5, 6);
      expect(next.params.vector!.dataSync()[0]).toBe(10);
      tf.dispose([next.params, grads]);
      disposeState(next.state);
    });

    it('equals the slow float64 version over 10 steps', () => {
      const options = { lr: 0.02, beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.3 };
      const slow = slowAdamW(options);
      const optimizer = adamw({ learningRate: options.lr, weightDecay: options.decay });
      let values = randomValues('initial');
      let params = tensors(values);
      let state = optimizer.init(params);
      for (let t = 1; t <= 10; t++) {
        const grads = randomValues('grads', t);
        const given = tensors(grads);
        ({ params, state } = optimizer.step(given, state, params));
        disposeParams(given);
        values = slow(values, grads, t);
        expectValues(params, values, 2e-6);
      }
      disposeParams(params);
      disposeState(state);
    });

    it('equals torch.optim.AdamW with clip_grad_norm_ over 10 steps', () => {
      const fixture = JSON.parse(
        readFileSync(new URL('../fixtures/adamw.json', import.meta.url), 'utf8'),
      ) as {
        options: { lr: number; beta1: number; beta2: number; eps: number; weightDecay: number; clip: number };
        initial: Values;
        steps: { grads: Values; norm: number; after: Values }[];
      };
      const { lr, ...options } = fixture.options;
      const optimizer = adamw({ ...options, learningRate: lr });
      let params = tensors(fixture.initial);
      let state = optimizer.init(params);
      for (const step of fixture.steps) {
        const grads = tensors(step.grads);
        const next = optimizer.step(grads, state, params);
        ({ params, state } = next);
        disposeParams(grads);
        expect(next.gradNorm).toBeCloseTo(step.norm, 5);
        expect(next.learningRate).toBe(lr);
        expectValues(params, step.after, 2e-6);
      }
      disposeParams(params);
      disposeState(state);
    });

    it('step equals the chain followed by applyUpdates, link by link', () => {
      const optimizer = adamw({
        learningRate: (t) => 0.01 * (t + 1),
        clip: 0.5,
        weightDecay: 0.1,
        beta2: 0.999,
      });
      let fast = {
        params: tensors(randomValues('initial')),
        state: optimizer.init(tensors(randomValues('initial'))),
      };
      let slow = {
        params: tensors(randomValues('initial')),
        state: optimizer.init(tensors(randomValues('initial'))),
      };
      for (let t = 0; t < 5; t++) {
        const grads = tensors(randomValues('grads', t));
        fast = optimizer.step(grads, fast.state, fast.params);
        slow = applyStep(optimizer, grads, slow.state, slow.params);
        const flat = [fast, slow].map((x) => flattenState(x.state));
        expect(flat[0]!.numbers).toEqual(flat[1]!.numbers);
        for (const [name, x] of Object.entries({ ...slow.params, ...flat[1]!.tensors })) {
          const other = { ...fast.params, ...flat[0]!.tensors }[name]!.dataSync();
          x.dataSync().forEach((value, i) => {
            expect(Math.abs(other[i]! - value), name).toBeLessThan(1e-6);
          });
        }
        disposeParams(grads);
      }
      for (const { params, state } of [fast, slow]) {
        disposeParams(params);
        disposeState(state);
      }
    });

    it('refuses gradients of other parameters before it touches anything', () => {
      const optimizer = adamw({ learningRate: 0.1 });
      const params = tensors(randomValues('initial'));
      const state = optimizer.init(params);
      const { weight, bias } = tensors(randomValues('grads')) as { weight: tf.Tensor; bias: tf.Tensor };
      expect(() => optimizer.step({ weight }, state, params)).toThrow('"bias" has no gradient');
      expect(() => optimizer.step({ weight, bias, head: bias }, state, params)).toThrow(
        '"head" has a gradient but',
      );
      expectValues(params, randomValues('initial'), 1e-9);
      tf.dispose([params, weight, bias]);
      disposeState(state);
    });

    it('does not write into a copy that somebody else holds', () => {
      const optimizer = adamw({ learningRate: 0.1 });
      const params = tensors(randomValues('initial'));
      const before = Array.from(params.weight!.dataSync());
      const best = tf.clone(params.weight!);
      const grads = tensors(randomValues('grads'));
      const next = optimizer.step(grads, optimizer.init(params), params);
      expect(Array.from(best.dataSync())).toEqual(before);
      expect(Array.from(next.params.weight!.dataSync())).not.toEqual(before);
      tf.dispose([best, grads, next.params]);
      disposeState(next.state);
    });

    it('leaks nothing over 200 updates', () => {
      const before = tf.memory().numTensors;
      const optimizer = adamw({ learningRate: 0.01, clip: 0.5, weightDecay: 0.1 });
      let params = tensors(randomValues('initial'));
      let state = optimizer.init(params);
      const during = tf.memory().numTensors;
      for (let t = 0; t < 200; t++) {
        const grads = tensors(randomValues('grads', t));
        ({ params, state } = optimizer.step(grads, state, params));
        disposeParams(grads);
      }
      expect(tf.memory().numTensors).toBe(during);
      disposeParams(params);
      disposeState(state);
      expect(tf.memory().numTensors).toBe(before);
    });

    it('goes on bit for bit from a saved state, whatever the order of names', () => {
      const optimizer = adamw({ learningRate: 0.01, clip: 0.5, weightDecay: 0.1 });
      const run = (
        from: number,
        to: number,
        start: { params: Params; state: ReturnType<typeof optimizer.init> },
      ) => {
        let { params, state } = start;
        for (let t = from; t < to; t++) {
          const grads = tensors(randomValues('grads', t));
          ({ params, state } = optimizer.step(grads, state, params));
          disposeParams(grads);
        }
        return { params, state };
      };
      const begin = () => {
        const params = tensors(randomValues('initial'));
        return { params, state: optimizer.init(params) };
      };
      const straight = run(0, 6, begin());

      const half = run(0, 3, begin());
      const { tensors: byName, numbers } = flattenState(half.state);
      const saved = Object.entries(byName).map(([name, x]) => ({
        name,
        shape: x.shape,
        data: x.dataSync().slice(),
      }));
      expect(Object.keys(byName).sort()).toEqual([
        'adam/first/bias',
        'adam/first/weight',
        'adam/second/bias',
        'adam/second/weight',
      ]);
      const text = JSON.stringify(numbers);
      disposeState(half.state);
      const params: Params = { bias: half.params.bias!, weight: half.params.weight! };
      const like = optimizer.init(params);
      const loaded = saved.reverse().map(({ name, shape, data }) => [name, tf.tensor(data, shape)] as const);
      const state = restoreState(like, { tensors: Object.fromEntries(loaded), numbers: JSON.parse(text) });
      disposeState(like);
      const resumed = run(3, 6, { params, state });

      for (const name of ['weight', 'bias']) {
        expect(resumed.params[name]!.dataSync()).toEqual(straight.params[name]!.dataSync());
      }
      tf.dispose([straight.params, resumed.params]);
      disposeState(straight.state);
      disposeState(resumed.state);
    });
  });
}
