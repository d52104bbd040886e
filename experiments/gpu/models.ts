import * as tf from '@tensorflow/tfjs-core';
import { familyOf, newModelConfig } from '../../src/models/families.js';
import type { Model } from '../../src/models/model.js';
import type { Params } from '../../src/tensor/params.js';

export interface Shape {
  layers: number;
  width: number;
  heads: number;
  vocab: number;
}

/**
 * A GPT-2 of this shape for measuring. Weights repeat a block of small numbers: the time of a product does not depend on them, and 1.5 billion draws
 * take a minute.
 */
export function randomModel({ layers, width, heads, vocab }: Shape, maxPositions = 1024): Model {
  const config = newModelConfig('gpt2', { vocabSize: vocab, hiddenSize: width, layers, heads, maxPositions });
  const block = Float32Array.from({ length: 1 << 16 }, (_, i) => 0.02 * Math.sin(i * 12.9898));
  const params: Params = {};
  for (const [name, { shape, init }] of Object.entries(familyOf(config).parameters(config))) {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
    if (init === 'ones') data.fill(1);
    else if (init !== 'zeros')
      for (let at = 0; at < data.length; at += block.length)
        data.set(block.subarray(0, Math.min(block.length, data.length - at)), at);
    params[name] = tf.tensor(data, shape);
  }
  return { config, params };
}
