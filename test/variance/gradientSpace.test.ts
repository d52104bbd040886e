import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normal, stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams, type Params } from '../../src/tensor/params.js';
import { exactSpace, gradientSpace, gram, projectionSpace } from '../../src/variance/gradientSpace.js';

await initBackend({ backend: 'cpu' });

const rng = stream(1, 'gradients');
const gradient = (): Params => ({
  a: tf.tensor2d(
    Array.from({ length: 2000 }, () => normal(rng)),
    [40, 50],
  ),
  b: tf.tensor1d(Array.from({ length: 500 }, () => 1 + normal(rng))),
});

describe('scalar products of gradients', () => {
  let grads: Params[];
  beforeAll(() => {
    grads = [gradient(), gradient(), gradient()];
  });
  afterAll(() => grads.forEach(disposeParams));

  it('exact: all numbers in the order of the parameters', () => {
    const space = exactSpace({ b: tf.tensor1d([0]), a: tf.tensor2d([[1, 2]]) });
    const vector = space.vector({ a: tf.tensor2d([[3, 4]]), b: tf.tensor1d([5]) });
    expect(Array.from(vector)).toEqual([5, 3, 4]);
    expect(space).toMatchObject({ kind: 'exact', dimensions: 3, parameters: 3 });
    expect(gram([vector], [vector, Float32Array.of(1, 0, -1)])).toEqual([Float64Array.of(50, 1)]);
  });

  it('projections keep them, within the error that the docstring states, and every seed has its own', () => {
    const exact = exactSpace(grads[0]!);
    const truth = grads.map((g) => exact.vector(g));
    const products = gram(truth, truth);
    const [sizeA, sizeB] = [Math.sqrt(products[0]![0]!), Math.sqrt(products[1]![1]!)];
    const errors: number[] = [];
    for (let seed = 0; seed < 40; seed++) {
      const space = projectionSpace(grads[0]!, 256, seed);
      const sketches = grads.map((g) => space.vector(g));
      expect(sketches[0]).toHaveLength(256);
      const found = gram(sketches, sketches);
      errors.push((found[0]![1]! - products[0]![1]!) / (sizeA * sizeB));
    }
    const mean = errors.reduce((a, b) => a + b) / errors.length;
    const spread = Math.sqrt(errors.reduce((sum, e) => sum + e * e, 0) / errors.length);
    const bound = Math.sqrt(2 / 256);
    expect(Math.abs(mean)).toBeLessThan((3 * bound) / Math.sqrt(errors.length));
    expect(spread).toBeLessThan(bound);
    expect(spread).toBeGreaterThan(bound / 4);
    expect(new Set(errors).size).toBe(errors.length);
  });

  it('the sketch of a difference is the difference of the sketches', () => {
    const space = projectionSpace(grads[0]!, 64, 1);
    const difference = tf.tidy(() => ({
      a: tf.keep(tf.sub(grads[0]!.a!, grads[1]!.a!)),
      b: tf.keep(tf.sub(grads[0]!.b!, grads[1]!.b!)),
    }));
    const [x, y, d] = [grads[0]!, grads[1]!, difference].map((g) => space.vector(g));
    d!.forEach((value, k) => {
      expect(value).toBeCloseTo(x![k]! - y![k]!, 3);
    });
    disposeParams(difference);
  });

  it('exact as long as the gradients fit into memory', () => {
    expect(gradientSpace(grads[0]!, { repeats: 32, seed: 1 }).kind).toBe('exact');
    expect(gradientSpace(grads[0]!, { repeats: 100_000, seed: 1 })).toMatchObject({
      kind: 'projections',
      dimensions: 16_384,
    });
    expect(gradientSpace(grads[0]!, { repeats: 2, seed: 1, projections: 8 }).dimensions).toBe(8);
  });
});
