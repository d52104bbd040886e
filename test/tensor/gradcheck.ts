import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { normal, stream } from '../../src/random/streams.js';
import { type Params, valueAndGrads } from '../../src/tensor/params.js';

export interface Input {
  shape: number[];
  values: number[];
}

/** Standard normal numbers, rounded to float32 so that the float64 reference sees the same input. */
export function gaussian(shape: number[], name: string, scale = 1): Input {
  const rng = stream(7, 'gradcheck', name);
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, values: Array.from({ length: size }, () => Math.fround(normal(rng) * scale)) };
}

export function expectClose(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
) {
  expect(found.length, `${what}: size`).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const a = found[i]!;
    const b = expected[i]!;
    if (a === b) continue; // also equal infinities
    const error = Math.abs(a - b) / (1 + Math.abs(b));
    if (!(error <= tolerance)) expect.fail(`${what}[${i}]: ${a} found, ${b} expected`);
  }
}

/**
 * Checks one operation: its value against `reference`; the gradient of Σ w·y, w random, for every input against
 * central differences of the float64 reference and, along one random direction, of the operation itself; and
 * that no tensor is left behind.
 */
export function checkOp(options: {
  inputs: Record<string, Input>;
  op: (tensors: Record<string, tf.Tensor>) => tf.Tensor;
  reference: (values: Record<string, number[]>) => number[];
  valueTolerance?: number;
  gradTolerance?: number;
}): void {
  const { inputs, op, reference, valueTolerance = 1e-5, gradTolerance = 1e-4 } = options;
  const names = Object.keys(inputs);
  const values = Object.fromEntries(names.map((name) => [name, inputs[name]!.values]));
  const expected = reference(values);
  const weights = gaussian([expected.length], 'weights').values;
  const project = (y: number[]) => y.reduce((total, v, i) => total + v * weights[i]!, 0);
  const tensors = (at: Record<string, number[]>): Params =>
    Object.fromEntries(names.map((name) => [name, tf.tensor(at[name]!, inputs[name]!.shape)]));
  const scalar = (p: Params): tf.Scalar => {
    const y = op(p);
    return tf.sum(tf.mul(y, tf.tensor(weights, y.shape)));
  };

  const before = tf.memory().numTensors;
  const params = tensors(values);
  const y = tf.tidy(() => op(params));
  expectClose(y.dataSync(), expected, valueTolerance, 'value');
  y.dispose();
  const { value, grads } = tf.tidy(() => valueAndGrads(scalar, params));
  const found = Object.fromEntries(names.map((name) => [name, Array.from(grads[name]!.dataSync())]));
  for (const name of names) expect(grads[name]!.shape, `gradient of ${name}`).toEqual(inputs[name]!.shape);
  expectClose(value.dataSync(), [project(expected)], 1e-4, 'projection');
  tf.dispose([value, grads, params]);
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);

  for (const name of names) {
    const numeric = values[name]!.map((v, i) => {
      const h = 1e-5;
      const shifted = (by: number) =>
        project(reference({ ...values, [name]: values[name]!.with(i, v + by) }));
      return (shifted(h) - shifted(-h)) / (2 * h);
    });
    expectClose(found[name]!, numeric, gradTolerance, `gradient of ${name}`);
  }

  for (const name of names) {
    const direction = gaussian(inputs[name]!.shape, `direction ${name}`).values;
    const h = 1e-2;
    const moved = (by: number) => {
      const shifted = values[name]!.map((v, i) => v + by * direction[i]!);
      const result = tf.tidy(() => scalar(tensors({ ...values, [name]: shifted })));
      const number = result.dataSync()[0]!;
      result.dispose();
      return number;
    };
    const slope = found[name]!.reduce((total, g, i) => total + g * direction[i]!, 0);
    expectClose([(moved(h) - moved(-h)) / (2 * h)], [slope], 2e-2, `slope along ${name}`);
  }
}
