import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { loadModel } from '../../src/models/checkpoint.js';
import {
  addLora,
  mergeAdapter,
  trainedParameters,
  weightsOf,
  withoutAdapter,
} from '../../src/models/lora.js';
import { disposeModel, headLogits, type Model, withRecompute } from '../../src/models/model.js';
import { packSequences, responseLogits, textSequence } from '../../src/models/packed.js';
import { SafetensorsFile } from '../../src/models/safetensors.js';
import { scoreTokens } from '../../src/scoring/score.js';
import { freeze } from '../../src/tensor/frozen.js';
import { halfOf, unpackHalves } from '../../src/tensor/halves.js';
import { tokenLogprob } from '../../src/tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../../src/tensor/params.js';
import { expectClose } from '../tensor/gradcheck.js';
import { fixtureDir, maxDifference } from './fixtures.js';

export const adapterDir = fileURLToPath(new URL('../fixtures/lora/', import.meta.url));

/** Adapters made by PEFT on models of test/fixtures/models (test/fixtures/lora/make.py). */
export const adapterNames = [
  'gpt2',
  'gpt2-scaled',
  'llama-tied',
  'llama-untied',
  'qwen2',
  'qwen3',
  'opt-post-norm',
  'mistral',
] as const;

export interface ExpectedOfAdapter {
  sequences: number[][];
  logprobs: number[][];
  loss: number;
}

export function expectedOf(name: string): ExpectedOfAdapter {
  return JSON.parse(readFileSync(`${adapterDir}${name}/expected.json`, 'utf8')) as ExpectedOfAdapter;
}

export function logprobsOf(model: Model, sequences: readonly number[][]): Float32Array[] {
  return scoreTokens(
    model,
    sequences.map((ids) => Int32Array.from(ids)),
  );
}

/** Mean cross-entropy over every predicted token, and its gradient in what trains. */
function lossAndGrads(model: Model, sequences: readonly number[][]): { loss: number; grads: Params } {
  const batch = packSequences(sequences.map(textSequence));
  const { value, grads } = valueAndGrads((p) => {
    const logits = responseLogits(p, model, batch);
    return tf.neg(tf.mean(tokenLogprob(logits, tf.tensor1d(batch.targets, 'int32')))) as tf.Scalar;
  }, model.params);
  const loss = value.dataSync()[0]!;
  value.dispose();
  return { loss, grads };
}

/** Log-probabilities of one sequence, token by token through the cache. */
function cachedLogprobs(model: Model, ids: readonly number[]): number[] {
  const cache = createCache(model.config, 1, ids.length);
  const found: number[] = [];
  const read = (hidden: tf.Tensor2D, next: number) =>
    tf.tidy(() => {
      const logits = headLogits(weightsOf(model), model.config, hidden);
      found.push(tokenLogprob(logits, tf.tensor1d([next], 'int32')).dataSync()[0]!);
    });
  tf.tidy(() => read(prefill(model, cache, Int32Array.from([ids[0]!]), 1, 1), ids[1]!));
  for (let t = 1; t + 1 < ids.length; t++)
    tf.tidy(() =>
      read(decodeStep(model, cache, Int32Array.from([ids[t]!]), Int32Array.from([t])), ids[t + 1]!),
    );
  disposeCache(cache);
  return found;
}

/** Agreement with PEFT, the same suite for every backend; `initBackend` must have run. */
export function loraSuite(): void {
  describe.each(adapterNames)('%s: an adapter made by PEFT', (name) => {
    const expected = expectedOf(name);
    let model: Model;
    beforeAll(async () => {
      model = await loadModel(adapterDir + name);
    });
    afterAll(() => disposeModel(model));

    it('gives the same log-probabilities within 1e-4, through the cache too', () => {
      const before = tf.memory().numTensors;
      const scores = logprobsOf(model, expected.sequences);
      for (const [i, row] of scores.entries())
        expect(maxDifference(row, expected.logprobs[i]!)).toBeLessThan(1e-4);
      expect(
        maxDifference(cachedLogprobs(model, expected.sequences[1]!), expected.logprobs[1]!),
      ).toBeLessThan(1e-4);
      expect(tf.memory().numTensors).toBe(before);
    });

    it.each([false, true])(
      'has the same loss and gradients of what trains, recompute %s',
      async (recompute) => {
        const before = tf.memory().numTensors;
        const { loss, grads } = lossAndGrads(withRecompute(model, recompute), expected.sequences);
        expect(Math.abs(loss - expected.loss)).toBeLessThan(1e-5);
        const file = await SafetensorsFile.open(`${adapterDir}${name}/grads.safetensors`);
        const specs = trainedParameters(model.config);
        expect(
          Object.keys(grads)
            .map((own) => `base_model.model.${own}`)
            .sort(),
        ).toEqual([...file.entries.keys()].sort());
        for (const [own, grad] of Object.entries(grads)) {
          const { data } = await file.read(`base_model.model.${own}`);
          const stored = tf.tidy(() => (specs[own]!.transposed ? tf.transpose(grad) : grad).dataSync());
          const largest = Math.max(...data.map(Math.abs));
          expect(maxDifference(stored, data), own).toBeLessThan(1e-4 * largest + 1e-6);
        }
        await file.close();
        disposeParams(grads);
        expect(tf.memory().numTensors).toBe(before);
      },
    );

    it('off it is the base; merged it is the same model within 1e-5', async () => {
      const before = tf.memory().numTensors;
      const base = await loadModel(fixtureDir + name);
      expect(logprobsOf(withoutAdapter(model), expected.sequences)).toEqual(
        logprobsOf(base, expected.sequences),
      );
      disposeModel(base);
      const merged = mergeAdapter(await loadModel(adapterDir + name));
      expect(merged.base ?? merged.config.lora).toBeUndefined();
      const own = logprobsOf(model, expected.sequences);
      logprobsOf(merged, expected.sequences).forEach((row, i) => {
        expectClose(row, own[i]!, 1e-5, `sequence ${i}`);
      });
      disposeModel(merged);
      expect(tf.memory().numTensors).toBe(before);
    });
  });

  it.each(['gpt2', 'llama-untied', 'qwen2'])(
    '%s: on a base of 16 bits the bits are those of its numbers in float32',
    async (name) => {
      const { sequences } = expectedOf(name);
      const before = tf.memory().numTensors;
      const half = await loadModel(adapterDir + name, { dtype: 'bfloat16' });
      const base = Object.fromEntries(
        Object.entries(half.base!).map(([own, x]) => {
          const { dtype, shape } = halfOf(x) ?? {};
          return [
            own,
            freeze(
              dtype ? tf.tensor2d(unpackHalves(x.dataSync<'int32'>(), shape![1], dtype), shape) : tf.clone(x),
            ),
          ];
        }),
      );
      const full = { ...half, base };
      expect(logprobsOf(half, sequences)).toEqual(logprobsOf(full, sequences));
      expect(cachedLogprobs(half, sequences[1]!)).toEqual(cachedLogprobs(full, sequences[1]!));
      const [ofHalf, ofFull] = [lossAndGrads(half, sequences), lossAndGrads(full, sequences)];
      expect(ofHalf.loss).toBe(ofFull.loss);
      for (const [own, grad] of Object.entries(ofFull.grads))
        expect(ofHalf.grads[own]!.dataSync(), own).toEqual(grad.dataSync());
      for (const { grads } of [ofHalf, ofFull]) disposeParams(grads);
      disposeParams(base);
      disposeModel(half);
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  describe.each(['gpt2', 'llama-untied'])('%s: new adapters', (name) => {
    const { sequences } = expectedOf(name);
    const options = { rank: 2, alpha: 3, targets: 'all-linear', modulesToSave: [], rslora: false } as const;

    it('begin as the model itself, and the slope of the loss is the gradient', async () => {
      const plain = await loadModel(fixtureDir + name);
      const before = logprobsOf(plain, sequences);
      const model = addLora(plain, options, { name: 'base' }, 1);
      expect(logprobsOf(model, sequences)).toEqual(before);
      // B is zero: a step from elsewhere, where all gradients are other than zero.
      for (const [own, tensor] of Object.entries(model.params))
        if (own.endsWith('lora_B.weight')) model.params[own] = tf.add(tensor, 0.1);
      const { grads } = lossAndGrads(model, sequences);
      const along = tf.tidy(() =>
        Object.values(grads).reduce((sum, g) => sum + tf.sum(tf.square(g)).dataSync()[0]!, 0),
      );
      const step = 2e-2 / Math.sqrt(along);
      const at = (sign: number): number =>
        tf.tidy(() => {
          const moved = Object.entries(model.params).map(([own, x]) => [
            own,
            tf.add(x, tf.mul(grads[own]!, sign * step)),
          ]);
          return lossAndGrads({ ...model, params: Object.fromEntries(moved) as Params }, sequences).loss;
        });
      expect((at(1) - at(-1)) / (2 * step) / along).toBeCloseTo(1, 2);
      disposeParams(grads);
      disposeModel(model);
    });
  });
}
