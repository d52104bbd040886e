import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { forwardHidden, headLogits, type Model } from '../../src/models/model.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { gatherRows, tokenLogprob } from '../../src/tensor/ops/index.js';
import { disposeParams, valueAndGrads } from '../../src/tensor/params.js';
import {
  type Expected,
  type ExpectedGrads,
  fixtureDir,
  fixtureNames,
  maxDifference,
  readExpected,
  slowGreedy,
  tinystories,
  tinystoriesAbsent,
} from './fixtures.js';

/**
 * Agreement with `transformers`, the same suite for every backend; `initBackend` must have run.
 *
 * @param longest sequences of the real model beyond this length are left out (the plain JavaScript backend is slow)
 */
export function paritySuite(longest = 512): void {
  describe.each(fixtureNames)('%s made by transformers', (name) => {
    const expected = readExpected<ExpectedGrads>(`${name}/expected.json`);
    let model: Model;
    beforeAll(async () => {
      model = await loadModel(`${fixtureDir}${name}`);
    });
    afterAll(() => disposeParams(model.params));

    it('gives the same log-probabilities within 1e-4', () => checkScores(model, expected));
    it('continues greedily with the same tokens, by full passes and through the cache', () => {
      checkSlowGreedy(model, expected);
      checkCachedGreedy(model, expected);
    });

    it('has the same loss within 1e-4, and gradient of every parameter within 1e-3', () => {
      const { loss, norms } = lossAndGradNorms(model, expected.sequences);
      expect(Math.abs(loss - expected.loss)).toBeLessThan(1e-4);
      expect(Object.keys(norms).sort()).toEqual(Object.keys(expected.grad_norms).sort());
      for (const [parameter, norm] of Object.entries(expected.grad_norms)) {
        // A key bias shifts every score of a query alike: its gradient is rounding noise around 0.
        const allowed = 1e-3 * norm + 1e-6;
        expect(
          Math.abs(norms[parameter]! - norm),
          `${parameter}: ${norms[parameter]}, expected ${norm}`,
        ).toBeLessThan(allowed);
      }
    });
  });

  describe('tinystories-656k', () => {
    if (tinystoriesAbsent) {
      it.skip(`skipped: ${tinystoriesAbsent}`);
      return;
    }
    const all = readExpected<Expected>('tinystories.json');
    const keep = (_: unknown, s: number) => all.sequences[s]!.length <= longest;
    const expected = { ...all, sequences: all.sequences.filter(keep), logprobs: all.logprobs.filter(keep) };
    let model: Model;
    beforeAll(async () => {
      model = await loadModel(tinystories);
    });
    afterAll(() => disposeParams(model.params));

    it('gives the log-probabilities of transformers within 1e-4', () => checkScores(model, expected));
    it('tells the greedy stories of transformers', () => checkCachedGreedy(model, expected));
  });
}

function checkScores(model: Model, expected: Expected): void {
  const before = tf.memory().numTensors;
  const scores = scoreTokens(
    model,
    expected.sequences.map((ids) => Int32Array.from(ids)),
  );
  const worst = Math.max(...scores.map((score, s) => maxDifference(score, expected.logprobs[s]!)));
  expect(worst).toBeLessThan(1e-4);
  expect(tf.memory().numTensors).toBe(before);
}

function checkSlowGreedy(model: Model, expected: Expected): void {
  const texts = expected.prompts.map((prompt, p) => slowGreedy(model, prompt, expected.greedy[p]!.length));
  expect(texts).toEqual(expected.greedy);
}

function checkCachedGreedy(model: Model, { prompts, greedy }: Expected): void {
  const before = tf.memory().numTensors;
  const texts = cachedGreedy(model, prompts, greedy[0]!.length);
  expect(texts).toEqual(greedy);
  expect(tf.memory().numTensors).toBe(before);
}

/** All prompts in one batch, each row at its own position. */
function cachedGreedy(model: Model, prompts: readonly number[][], count: number): number[][] {
  const { params, config } = model;
  const batch = prompts.length;
  const length = Math.max(...prompts.map((p) => p.length));
  const ids = new Int32Array(batch * length);
  prompts.forEach((p, b) => {
    ids.set(p, b * length);
  });
  const cache = createCache(config, batch, length + count);
  const best = (hidden: tf.Tensor2D) => tf.argMax(headLogits(params, config, hidden), 1);
  const take = (tokens: tf.Tensor): Int32Array => {
    const data = Int32Array.from(tokens.dataSync());
    tokens.dispose();
    return data;
  };
  const last = Int32Array.from(prompts, (p, b) => b * length + p.length - 1);
  let tokens = take(
    tf.tidy(() => best(gatherRows(prefill(model, cache, ids, batch, length), tf.tensor1d(last, 'int32')))),
  );
  const texts = prompts.map((_, b) => [tokens[b]!]);
  for (let t = 0; t < count - 1; t++) {
    const positions = Int32Array.from(prompts, (p) => p.length + t);
    tokens = take(tf.tidy(() => best(decodeStep(model, cache, tokens, positions))));
    for (const [b, text] of texts.entries()) text.push(tokens[b]!);
  }
  disposeCache(cache);
  return texts;
}

/** Mean cross-entropy over every predicted token of all sequences, in one padded batch. */
function lossAndGradNorms({ params, config }: Model, sequences: readonly number[][]) {
  const length = Math.max(...sequences.map((ids) => ids.length));
  const ids = new Int32Array(sequences.length * length).fill(7); // the padding is a real token, to show that it does not matter
  const rows: number[] = [];
  const targets: number[] = [];
  sequences.forEach((sequence, b) => {
    ids.set(sequence, b * length);
    for (let t = 0; t + 1 < sequence.length; t++) {
      rows.push(b * length + t);
      targets.push(sequence[t + 1]!);
    }
  });
  const before = tf.memory().numTensors;
  const { value, grads } = tf.tidy(() =>
    valueAndGrads((p) => {
      const hidden = forwardHidden(p, config, ids, sequences.length, length);
      const logits = headLogits(p, config, gatherRows(hidden, tf.tensor1d(rows, 'int32')));
      return tf.neg(tf.mean(tokenLogprob(logits, tf.tensor1d(targets, 'int32')))) as tf.Scalar;
    }, params),
  );
  const loss = value.dataSync()[0]!;
  const norms: Record<string, number> = {};
  for (const [name, grad] of Object.entries(grads)) norms[name] = Math.hypot(...grad.dataSync());
  value.dispose();
  disposeParams(grads);
  expect(tf.memory().numTensors).toBe(before);
  return { loss, norms };
}
