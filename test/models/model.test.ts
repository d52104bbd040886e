import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { familyOf, gpt2Config, llamaConfig, newModelConfig } from '../../src/models/families.js';
import { forwardHidden, headLogits, initModel, parameterCount } from '../../src/models/model.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { maxDifference } from './fixtures.js';

await initBackend({ backend: 'cpu' });

const small = { vocabSize: 50, hiddenSize: 32, layers: 3, heads: 4, maxPositions: 16, eosId: 2 };

describe('new models', () => {
  it('count parameters as by hand', () => {
    // wte 50·32, wpe 16·32; a layer: two norms 2·64, c_attn 32·96+96, c_proj 32·32+32, mlp 32·128+128 and 128·32+32; ln_f 64
    expect(parameterCount(gpt2Config(small))).toBe(1600 + 512 + 3 * (128 + 3168 + 1056 + 4224 + 4128) + 64);
    // embedding 50·32; a layer: norms 2·32, q and o 32·32, k and v 32·16, three maps 32·96; last norm 32; head 50·32
    const llama = llamaConfig({ ...small, kvHeads: 2, tiedHead: false });
    expect(llama.intermediateSize).toBe(96);
    expect(parameterCount(llama)).toBe(1600 + 3 * (64 + 2 * 1024 + 2 * 512 + 3 * 3072) + 32 + 1600);
  });

  it('know their end token, head and context', () => {
    expect(llamaConfig({ ...small, headDim: 6 })).toMatchObject({
      family: 'llama',
      eosIds: [2],
      tiedHead: true,
      headDim: 6,
      ropeTheta: 10000,
    });
    expect(gpt2Config({ ...small, bosId: 1 })).toMatchObject({
      family: 'gpt2',
      bosId: 1,
      maxPositions: 16,
      intermediateSize: 128,
    });
  });

  it('refuse sizes that do not fit', () => {
    expect(() => llamaConfig({ ...small, heads: 5 })).toThrow('new llama model: head_dim is 6.4');
    expect(() => llamaConfig({ ...small, kvHeads: 3 })).toThrow(
      'num_attention_heads 4 is no multiple of num_key_value_heads 3',
    );
    expect(() => llamaConfig({ ...small, headDim: 7 })).toThrow(
      'head_dim is 7; rotary positions need an even one',
    );
    expect(() => gpt2Config({ ...small, heads: 5 })).toThrow('n_embd 32 is no multiple of n_head 5');
    expect(() => gpt2Config({ ...small, kvHeads: 2 })).toThrow('use the llama family');
    expect(() => gpt2Config({ ...small, layers: 0 })).toThrow('new gpt2 model: n_layer is 0');
  });

  it('begin as in transformers: normal weights, zero biases, unit gains, smaller maps into the residual stream', () => {
    const { config, params } = initModel(gpt2Config({ ...small, vocabSize: 2000 }), 1);
    const std = (name: string) =>
      Math.sqrt(params[name]!.dataSync<'float32'>().reduce((sum, x) => sum + x * x, 0) / params[name]!.size);
    expect(std('transformer.wte.weight')).toBeCloseTo(0.02, 3);
    expect(std('transformer.h.1.mlp.c_fc.weight')).toBeCloseTo(0.02, 3);
    expect(std('transformer.h.1.mlp.c_proj.weight')).toBeCloseTo(0.02 / Math.sqrt(6), 3);
    expect(std('transformer.h.2.attn.c_proj.weight')).toBeCloseTo(0.02 / Math.sqrt(6), 3);
    expect(std('transformer.h.0.mlp.c_fc.bias')).toBe(0);
    expect(new Set(params['transformer.ln_f.weight']!.dataSync())).toEqual(new Set([1]));
    const shapes = Object.entries(familyOf(config).parameters(config)).map(([name, spec]) => [
      name,
      spec.shape,
    ]);
    expect(Object.entries(params).map(([name, tensor]) => [name, tensor.shape])).toEqual(shapes);
    disposeParams(params);
  });

  it('depend on seed and name only: another layer changes no other parameter', () => {
    const a = initModel(llamaConfig(small), 5);
    const b = initModel(llamaConfig({ ...small, layers: 4 }), 5);
    const c = initModel(llamaConfig(small), 6);
    for (const [name, tensor] of Object.entries(a.params)) {
      expect([...b.params[name]!.dataSync()], name).toEqual([...tensor.dataSync()]);
    }
    const embedding = 'model.embed_tokens.weight';
    expect(maxDifference(a.params[embedding]!.dataSync(), c.params[embedding]!.dataSync())).toBeGreaterThan(
      0.01,
    );
    for (const { params } of [a, b, c]) disposeParams(params);
  });
});

describe.each(['llama', 'gpt2'] as const)('%s forward', (family) => {
  const model = initModel(newModelConfig(family, small), 3);
  const { params, config } = model;
  const pass = (ids: number[], batch: number) => {
    const hidden = forwardHidden(params, config, Int32Array.from(ids), batch, ids.length / batch);
    const data = hidden.dataSync<'float32'>();
    hidden.dispose();
    return data;
  };

  it('what follows a token, padding too, cannot change it', () => {
    const a = pass([4, 8, 15, 16, 23, 42], 1);
    const b = pass([4, 8, 15, 0, 0, 0], 1);
    expect(maxDifference(a.subarray(0, 3 * 32), b.subarray(0, 3 * 32))).toBe(0);
    expect(maxDifference(a.subarray(3 * 32), b.subarray(3 * 32))).toBeGreaterThan(0.01);
  });

  it('rows of a batch do not meet', () => {
    const [a, b] = [pass([4, 8, 15], 1), pass([16, 23, 42], 1)];
    expect(maxDifference(pass([4, 8, 15, 16, 23, 42], 2), [...a, ...b])).toBeLessThan(1e-6);
  });

  it('order matters', () => {
    expect(maxDifference(pass([4, 8, 15], 1).subarray(64), pass([8, 4, 15], 1).subarray(64))).toBeGreaterThan(
      1e-4,
    );
  });

  it('leaves nothing but its result', () => {
    const before = tf.memory().numTensors;
    const hidden = forwardHidden(params, config, Int32Array.of(1, 2, 3), 1, 3);
    const logits = headLogits(params, config, hidden);
    expect(logits.shape).toEqual([3, 50]);
    expect(tf.memory().numTensors).toBe(before + 2);
    tf.dispose([hidden, logits]);
  });

  it('names ids and positions that do not fit', () => {
    expect(() => pass([1, 50], 1)).toThrow("token id 50 is outside the model's vocabulary of 50");
    expect(() => pass([1, -1], 1)).toThrow('token id -1 is outside');
    expect(() => pass(new Array<number>(17).fill(1), 1)).toThrow(
      "position 16 is outside the model's context of 16",
    );
  });
});
