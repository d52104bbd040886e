import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { divergences } from '../../src/objectives/divergences.js';
import { completeTail } from '../../src/objectives/tailBucket.js';
import { stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';
import { logSoftmax } from '../helpers/referenceModel.js';

await initBackend({ backend: 'cpu' });

const V = 9;
const rng = stream(1, 'tail bucket');
const logits = (): number[] => Array.from({ length: V }, () => 4 * rng() - 2);
const student = [logits(), logits(), logits()];
const teacher = [logits(), logits(), logits()].map(logSoftmax);
const named = [[3, 0], [8, 2, 5], [1]];

const sum = (xs: readonly number[]): number => xs.reduce((total, x) => total + x, 0);

/** Probabilities of the named tokens, and of all others together. */
function buckets(logprobs: readonly number[], ids: readonly number[]): number[] {
  const p = logprobs.map(Math.exp);
  return [...ids.map((id) => p[id]!), sum(p.filter((_, v) => !ids.includes(v)))];
}

const kl = (p: readonly number[], q: readonly number[]): number =>
  sum(p.map((x, i) => x * Math.log(x / q[i]!)));

/** Over K + 1 buckets, by the letter, in float64. */
const reference = {
  forward: (q: number[], p: number[], ids: number[]) => kl(buckets(p, ids), buckets(logSoftmax(q), ids)),
  reverse: (q: number[], p: number[], ids: number[]) => kl(buckets(logSoftmax(q), ids), buckets(p, ids)),
};

const known = teacher.map((row, t) =>
  row.map((x, v) => (named[t]!.includes(v) ? x : Number.NEGATIVE_INFINITY)),
);
const tails = teacher.map((row, t) => buckets(row, named[t]!).at(-1)!);

describe.each(['forward', 'reverse'] as const)('%s KL over the named tokens and one bucket', (name) => {
  const divergence = (q: tf.Tensor2D, tail?: tf.Tensor1D): tf.Tensor1D =>
    divergences[name].perToken(q, completeTail(q, tf.tensor2d(known), tail));

  it.each([
    ['with the mass of the tail given', true],
    ['with 1 − Σ p', false],
  ])('is the slow one, %s', (_, given) => {
    const tail = given ? tf.tensor1d(tails) : undefined;
    const values = divergence(tf.tensor2d(student), tail).arraySync();
    student.forEach((q, t) => {
      expect(values[t]).toBeCloseTo(reference[name](q, teacher[t]!, named[t]!), 5);
    });
  });

  it('its gradient is that of finite differences of the slow one, in which nothing is held fixed', () => {
    const gradient = tf.grad((q: tf.Tensor) => tf.sum(divergence(q as tf.Tensor2D, tf.tensor1d(tails))));
    const got = gradient(tf.tensor2d(student)).arraySync() as number[][];
    const h = 1e-5;
    student.forEach((q, t) => {
      q.forEach((_, v) => {
        const moved = (by: number) => q.map((x, i) => (i === v ? x + by : x));
        const at = (by: number) => reference[name](moved(by), teacher[t]!, named[t]!);
        expect(got[t]![v]).toBeCloseTo((at(h) - at(-h)) / (2 * h), 5);
      });
    });
  });

  it('is at most the KL over all tokens, and that where every token is named', () => {
    const whole = divergences[name].perToken(tf.tensor2d(student), tf.tensor2d(teacher)).arraySync();
    const part = divergence(tf.tensor2d(student)).arraySync();
    part.forEach((x, t) => {
      expect(x).toBeLessThan(whole[t]!);
    });
    const all = divergences[name].perToken(
      tf.tensor2d(student),
      completeTail(tf.tensor2d(student), tf.tensor2d(teacher), tf.zeros([3])),
    );
    all.arraySync().forEach((x, t) => {
      expect(x).toBeCloseTo(whole[t]!, 6);
    });
  });
});

it('a tail of 1e-12 keeps its digits where it is given: reverse KL = Σ_K q ln(q/p) + q_tail ln(q_tail / 1e-12)', () => {
  const q = tf.tensor2d([[0, 0, 0, 0]]);
  const listed = tf.tensor2d([
    [Math.log(0.5), Math.log(0.5), Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ]);
  const value = divergences.reverse.perToken(q, completeTail(q, listed, tf.tensor1d([1e-12])));
  expect(value.dataSync()[0]).toBeCloseTo(0.5 * Math.log(0.5) + 0.5 * Math.log(0.5 / 1e-12), 4);
});
