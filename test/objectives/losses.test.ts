import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  aggregate,
  aggregationNames,
  batchTotals,
  tokenCoefficients,
} from '../../src/objectives/aggregate.js';
import { averageLogits, babyllamaLoss } from '../../src/objectives/babyllama.js';
import { divergences } from '../../src/objectives/divergences.js';
import { crossEntropy, kdLoss } from '../../src/objectives/kd.js';
import { estimateKl } from '../../src/objectives/klEstimators.js';
import { surrogate, surrogateSlope } from '../../src/objectives/surrogate.js';
import { initBackend } from '../../src/tensor/backend.js';

beforeAll(async () => {
  await initBackend({ backend: 'cpu' });
});

const close = (found: ArrayLike<number>, expected: number[], digits = 6) => {
  expect(found.length).toBe(expected.length);
  expected.forEach((x, i) => {
    expect(found[i], `[${i}]`).toBeCloseTo(x, digits);
  });
};

describe('surrogate', () => {
  // ρ and A with ε 0.2. A>0: above 1.2 clipped. A<0: below 0.8 clipped. The last two: w alone does it.
  const cases = [
    { ratio: 1.5, w: 1, a: 1, loss: -1.2, slope: 0 },
    { ratio: 1.5, w: 1, a: -1, loss: 1.5, slope: 1.5 },
    { ratio: 0.5, w: 1, a: 1, loss: -0.5, slope: -0.5 },
    { ratio: 0.5, w: 1, a: -1, loss: 0.8, slope: 0 },
    { ratio: 1.1, w: 1, a: 2, loss: -2.2, slope: -2.2 },
    { ratio: 1, w: 0.5, a: -2, loss: 1.6, slope: 0 },
    { ratio: 1, w: 1.25, a: 2, loss: -2.4, slope: 0 },
    { ratio: 1.6, w: 0.5, a: 0, loss: 0, slope: 0 },
  ];
  const column = (f: (c: (typeof cases)[number]) => number) => tf.tensor1d(cases.map(f));
  const constants = () => ({
    oldLogprobs: column(() => -1),
    advantages: column((c) => c.a),
    weights: column((c) => c.w),
  });

  it('by hand, value, slope and clip fraction', () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const logprobs = column((c) => -1 + Math.log(c.ratio));
      const { loss, ratio, clipped } = surrogate(logprobs, constants(), 0.2);
      close(
        loss.dataSync(),
        cases.map((c) => c.loss),
      );
      close(
        ratio.dataSync(),
        cases.map((c) => c.ratio),
      );
      close(clipped.dataSync(), [1, 0, 0, 1, 0, 1, 1, 0]);
      const slope = tf.grad((x) => tf.sum(surrogate(x as tf.Tensor1D, constants(), 0.2).loss))(logprobs);
      close(
        slope.dataSync(),
        cases.map((c) => c.slope),
      );
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('two sides: 0.1 below, 0.6 above', () => {
    tf.tidy(() => {
      const logprobs = column((c) => -1 + Math.log(c.ratio));
      const range = { low: 0.1, high: 0.6 };
      const { loss, clipped } = surrogate(logprobs, constants(), range);
      // ρ: 1.5, 1.5, 0.5, 0.5, 1.1, 0.5, 1.25, 0.8
      close(loss.dataSync(), [-1.5, 1.5, -0.5, 0.9, -2.2, 1.8, -2.5, 0]);
      close(clipped.dataSync(), [0, 0, 0, 1, 0, 1, 0, 0]);
      cases.forEach((c, i) => {
        const slope = surrogateSlope(c.a, c.ratio * c.w, range);
        expect(slope === 0).toBe(c.a === 0 || clipped.dataSync()[i] === 1);
      });
      expect(surrogate(logprobs, constants(), { low: 0.2, high: 0.2 }).loss.dataSync()).toEqual(
        surrogate(logprobs, constants(), 0.2).loss.dataSync(),
      );
    });
  });

  it('cliprange 0 is −Aρ everywhere', () => {
    tf.tidy(() => {
      const logprobs = column((c) => -1 + Math.log(c.ratio));
      const { loss, clipped } = surrogate(logprobs, constants(), 0);
      const plain = cases.map((c) => -c.a * c.ratio * c.w);
      close(loss.dataSync(), plain);
      close(
        clipped.dataSync(),
        plain.map(() => 0),
      );
      const slope = tf.grad((x) => tf.sum(surrogate(x as tf.Tensor1D, constants(), 0).loss))(logprobs);
      close(slope.dataSync(), plain);
    });
  });

  it('the float64 slope agrees', () => {
    for (const c of cases) expect(surrogateSlope(c.a, c.ratio * c.w, 0.2)).toBeCloseTo(c.slope, 12);
    expect(surrogateSlope(1, 1.5, 0)).toBe(-1.5);
  });
});

describe('aggregation of losses 1 2 3 | 4, R = 5', () => {
  const lengths = [3, 1];
  const totals = batchTotals(lengths, 5);
  it.each([
    ['token-mean', 10 / 4],
    ['seq-mean-token-sum', (6 + 4) / 2],
    ['seq-mean-token-mean', (2 + 4) / 2],
    ['fixed-length', 10 / 10],
  ] as const)('%s', (mode, expected) => {
    const whole = aggregate(tf.tensor1d([1, 2, 3, 4]), tokenCoefficients(mode, lengths, totals));
    expect(whole.dataSync()[0]).toBeCloseTo(expected, 6);
    // The same batch in two micro-batches: they add up because the totals are the whole batch's.
    const first = aggregate(tf.tensor1d([1, 2, 3]), tokenCoefficients(mode, [3], totals)).dataSync()[0]!;
    const second = aggregate(tf.tensor1d([4]), tokenCoefficients(mode, [1], totals)).dataSync()[0]!;
    expect(first + second).toBeCloseTo(expected, 6);
  });
  it('covers every mode', () => {
    expect(aggregationNames).toEqual([
      'token-mean',
      'seq-mean-token-sum',
      'seq-mean-token-mean',
      'fixed-length',
    ]);
    expect(batchTotals([2, 7])).toEqual({ tokens: 9, sequences: 2, slots: 7 });
  });
  it('refuses another number of tokens', () => {
    expect(() => aggregate(tf.tensor1d([1, 2]), tokenCoefficients('token-mean', [3], totals))).toThrow(
      'aggregate: x: shape [2] found, [3] expected',
    );
  });
});

describe('KL estimators', () => {
  it('by hand at r = ln 2 and −1', () => {
    const r = [[Math.log(2), -1]];
    close(estimateKl('k1', r)[0]!, [-Math.LN2, 1], 12);
    close(estimateKl('k2', r)[0]!, [0.240226506959101, 0.5], 12);
    close(estimateKl('k3', r)[0]!, [0.306852819440055, 0.367879441171442], 12); // 2 − 1 − ln 2; 1/e − 1 + 1
    close(estimateKl('rao-blackwell', r, [[0.1, 0.2]])[0]!, [0.1, 0.2], 12);
    expect(() => estimateKl('rao-blackwell', r)).toThrow('needs the KL');
  });
  it('k1, k3 and rao-blackwell have the mean KL(q‖p), k2 has not', () => {
    const q = [0.7, 0.2, 0.1];
    const p = [0.3, 0.3, 0.4];
    const kl = q.reduce((sum, x, v) => sum + x * Math.log(x / p[v]!), 0);
    const r = [q.map((x, v) => Math.log(p[v]! / x))];
    const mean = (name: 'k1' | 'k2' | 'k3') =>
      estimateKl(name, r)[0]!.reduce((sum, x, v) => sum + q[v]! * x, 0);
    expect(mean('k1')).toBeCloseTo(kl, 14);
    expect(mean('k3')).toBeCloseTo(kl, 14);
    // 0.7·(ln 3/7)²/2 + 0.2·(ln 1.5)²/2 + 0.1·(ln 4)²/2 = 0.251273 + 0.016440 + 0.096091
    expect(mean('k2')).toBeCloseTo(0.363804, 5);
    expect(kl).toBeCloseTo(0.373385, 5); // 0.7·0.847298 − 0.2·0.405465 − 0.1·1.386294
  });
});

describe('word-level distillation, V = 2', () => {
  // q = softmax(0, 0) = 1/2 1/2; teacher logits (ln 3, 0): p = 3/4 1/4
  const q = () => tf.tensor2d([[0, 0]]);
  const p = () => tf.tensor2d([[Math.log(3), 0]]);
  const id = () => tf.tensor1d([1], 'int32');

  it('kd mixes ln 2 and ln 2', () => {
    const { loss, ce, softCe } = kdLoss(tf.tensor2d([[Math.log(4), 0]]), p(), id(), 0.25);
    // student 4/5 1/5: CE = ln 5; soft CE = 0.75·ln(5/4) + 0.25·ln 5
    close(ce.dataSync(), [Math.log(5)]);
    close(softCe!.dataSync(), [0.75 * Math.log(1.25) + 0.25 * Math.log(5)]);
    close(loss.dataSync(), [0.75 * Math.log(5) + 0.25 * (0.75 * Math.log(1.25) + 0.25 * Math.log(5))]);
    close(crossEntropy(q(), id()).dataSync(), [Math.LN2]);
  });
  it('ratio 0 asks no teacher, any other needs one', () => {
    expect(kdLoss(q(), undefined, id(), 0).softCe).toBeUndefined();
    expect(() => kdLoss(q(), undefined, id(), 0.5)).toThrow('a teacher share of 0.5 needs a teacher');
  });
  it('divergences', () => {
    // KL(p‖q) = 0.75 ln 1.5 + 0.25 ln 0.5; KL(q‖p) = 0.5 ln(2/3) + 0.5 ln 2
    close(divergences.forward.perToken(q(), p()).dataSync(), [0.75 * Math.log(1.5) + 0.25 * Math.log(0.5)]);
    close(divergences.reverse.perToken(q(), p()).dataSync(), [0.5 * Math.log(2 / 3) + 0.5 * Math.log(2)]);
  });

  it('babyllama: T² KL at temperature 2, teachers averaged by logits', () => {
    const mean = averageLogits([tf.tensor2d([[3, 0]]), tf.tensor2d([[1, 0]])]);
    close(mean.dataSync(), [2, 0]);
    // softmax(1, 0) = 0.7310586, KL to 1/2: ln 2 − H(0.7310586) = 0.693147 − 0.582203 = 0.110944; ·4 = 0.443777
    const options = {
      alpha: 0.5,
      temperature: 2,
      reduction: 'token',
      totals: { tokens: 1, sequences: 1 },
    } as const;
    const { loss, ce, distillation } = babyllamaLoss(q(), mean, id(), options);
    expect(distillation.dataSync()[0]).toBeCloseTo(0.443777, 5);
    expect(ce.dataSync()[0]).toBeCloseTo(Math.LN2, 6);
    expect(loss.dataSync()[0]).toBeCloseTo(0.5 * Math.LN2 + 0.5 * 0.443777, 5);
  });
  it('babyllama reductions: by sequences (the reference) or by tokens', () => {
    const three = (x: tf.Tensor2D) => tf.concat([x, x, x]);
    const run = (reduction: 'batchmean' | 'token') =>
      babyllamaLoss(three(q()), three(p()), tf.tensor1d([0, 1, 0], 'int32'), {
        alpha: 0,
        temperature: 1,
        reduction,
        totals: { tokens: 3, sequences: 1 },
      }).loss.dataSync()[0]!;
    const kl = 0.75 * Math.log(1.5) + 0.25 * Math.log(0.5);
    expect(run('batchmean')).toBeCloseTo(3 * kl, 5);
    expect(run('token')).toBeCloseTo(kl, 6);
  });
  it('babyllama refuses no teacher and teachers of different vocabularies', () => {
    expect(() => averageLogits([])).toThrow('no teacher given');
    expect(() => averageLogits([q(), tf.tensor2d([[0, 0, 0]])])).toThrow(
      'teacher 2 has logits [1,3], the first one [1,2]',
    );
  });
});
