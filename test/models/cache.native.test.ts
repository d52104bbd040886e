import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { newModelConfig } from '../../src/models/families.js';
import { initModel } from '../../src/models/model.js';
import { integer, stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';
import { engineName, onPortable } from '../../src/tensor/kernels.js';
import { disposeParams } from '../../src/tensor/params.js';
import { cacheSuite } from './cache.suite.js';
import { maxDifference } from './fixtures.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);

describe('key/value cache on the native engine', () => {
  if (absent) it.skip(`skipped, the native engine is absent: ${absent}`);
  else cacheSuite();
});

const noKernels = absent ?? (engineName() === 'tensorflow' ? undefined : 'the addon has no kernels of ours');

describe.skipIf(noKernels)(`the decoding kernel${noKernels ? ` [skipped: ${noKernels}]` : ''}`, () => {
  // Heads of several registers and a rest, batches of more rows than a tile of the matrix product has.
  it.each([
    { family: 'gpt2', heads: 3, headDim: 84, batch: 1 },
    { family: 'gpt2', heads: 2, headDim: 64, batch: 15 },
    { family: 'llama', heads: 4, kvHeads: 2, headDim: 84, batch: 14 },
    { family: 'qwen3', heads: 4, kvHeads: 1, headDim: 36, batch: 30 },
  ] as const)('finds what block after block does: %o', ({ family, batch, ...shape }) => {
    const hiddenSize = shape.heads * shape.headDim;
    const { headDim: _, ...plain } = shape;
    const sizes = {
      vocabSize: 50,
      hiddenSize,
      layers: 2,
      maxPositions: 64,
      ...(family === 'gpt2' ? plain : shape),
    };
    const config = newModelConfig(family, sizes);
    const model = initModel(config, 5);
    const rng = stream(6, 'decoding kernel');
    const some = (count: number) => Int32Array.from({ length: count }, () => integer(rng, 50));
    const length = 20;
    const prompt = some(batch * length);
    const steps = Array.from({ length: 3 }, () => some(batch));
    const decode = (): Float32Array[] => {
      const cache = createCache(config, batch, 40);
      prefill(model, cache, prompt, batch, length).dispose();
      // Rows at different positions: those slots are overwritten one after another.
      const states = steps.map((tokens, t) => {
        const positions = Int32Array.from({ length: batch }, (_, b) => (b % length) + t);
        const hidden = decodeStep(model, cache, tokens, positions);
        const data = hidden.dataSync<'float32'>();
        hidden.dispose();
        return data;
      });
      disposeCache(cache);
      return states;
    };
    const before = tf.memory().numTensors;
    const [found, expected] = [decode(), onPortable(decode)];
    expect(tf.memory().numTensors).toBe(before);
    found.forEach((states, t) => {
      expect(maxDifference(states, expected[t]!)).toBeLessThan(1e-5);
    });
    disposeParams(model.params);
  });
});
