import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { fusedKernels, initBackend } from '../../src/tensor/backend.js';
import * as ops from '../../src/tensor/ops/index.js';
import { type Params, valueAndGrads } from '../../src/tensor/params.js';
import { checkOp, expectClose, gaussian, type Input } from './gradcheck.js';
import * as reference from './ops.reference.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => (fusedKernels() ? undefined : 'our kernels are not compiled'),
  (error: Error) => error.message,
);
const [T1, T2] = [(x: unknown) => x as tf.Tensor1D, (x: unknown) => x as tf.Tensor2D];

function inputsOf(rows: number, width: number, inner: number): Record<string, Input> {
  return {
    x: gaussian([rows, width], 'x'),
    g1: gaussian([width], 'g1'),
    h1: gaussian([width], 'h1', 0.5),
    wa: gaussian([width, 3 * width], 'wa', 0.5),
    ba: gaussian([3 * width], 'ba', 0.5),
    wo: gaussian([width, width], 'wo', 0.5),
    bo: gaussian([width], 'bo', 0.5),
    g2: gaussian([width], 'g2'),
    h2: gaussian([width], 'h2', 0.5),
    wu: gaussian([width, inner], 'wu', 0.5),
    bu: gaussian([inner], 'bu', 0.5),
    wd: gaussian([inner, width], 'wd', 0.5),
    bd: gaussian([width], 'bd', 0.5),
  };
}

const weightsOf = (p: Params): ops.GeluBlockWeights => ({
  norm1: { gain: T1(p.g1), bias: T1(p.h1) },
  qkv: { weight: T2(p.wa), bias: T1(p.ba) },
  out: { weight: T2(p.wo), bias: T1(p.bo) },
  norm2: { gain: T1(p.g2), bias: T1(p.h2) },
  up: { weight: T2(p.wu), bias: T1(p.bu) },
  down: { weight: T2(p.wd), bias: T1(p.bd) },
});
const EPS = 1e-5;

/** The block as the operations that it consists of. */
function composed(p: Params, dims: ops.AttentionDims): tf.Tensor2D {
  const x = T2(p.x);
  const fused = ops.linear(ops.layerNorm(x, T1(p.g1), T1(p.h1), EPS), T2(p.wa), T1(p.ba));
  const [q, k, v] = tf.split(fused, 3, 1) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  const y = ops.linear(ops.causalAttention(q, k, v, dims), T2(p.wo), T1(p.bo), x);
  const mlp = { inWeight: T2(p.wu), inBias: T1(p.bu), outWeight: T2(p.wd), outBias: T1(p.bd) };
  return ops.geluMlp(ops.layerNorm(y, T1(p.g2), T1(p.h2), EPS), mlp, y);
}

describe('geluBlock', () => {
  if (absent) {
    it.skip(`skipped: ${absent}`);
    return;
  }

  it('value and gradients of a small block, against numbers in float64', () => {
    const dims = { batch: 2, length: 3, heads: 2, kvHeads: 2, headDim: 2 };
    const columns = (x: number[], from: number): number[] =>
      x.filter((_, i) => i % 12 >= from && i % 12 < from + 4);
    checkOp({
      inputs: inputsOf(6, 4, 10),
      op: (p) => ops.geluBlock(T2(p.x), weightsOf(p), dims, EPS),
      reference: ({ x, g1, h1, wa, ba, wo, bo, g2, h2, wu, bu, wd, bd }) => {
        const fused = reference.linear(reference.layerNorm(x!, g1!, h1!, EPS), wa!, ba!, 4);
        const [q, k, v] = [columns(fused, 0), columns(fused, 4), columns(fused, 8)];
        const out = reference.linear(reference.causalAttention(q, k, v, dims), wo!, bo!, 4);
        const y = out.map((value, i) => value + x![i]!);
        const h = reference.linear(reference.layerNorm(y, g2!, h2!, EPS), wu!, bu!, 4);
        const down = reference.linear(
          h.map((u) => reference.gelu([u])[0]!),
          wd!,
          bd!,
          10,
        );
        return down.map((value, i) => value + y[i]!);
      },
      gradTolerance: 3e-4,
    });
  });

  it.each([0, 40])('is the composition of its parts at a width of many tiles, window %i', (window) => {
    const dims = { batch: 3, length: 70, heads: 4, kvHeads: 4, headDim: 17, window };
    const inputs = inputsOf(3 * 70, 68, 275);
    const params = Object.fromEntries(
      Object.entries(inputs).map(([name, { shape, values }]) => [
        name,
        tf.tensor(
          values.map((value) => (name.startsWith('w') ? 0.2 * value : value)),
          shape,
        ),
      ]),
    );
    const target = gaussian([3 * 70, 68], 'target').values;
    const loss = (f: (p: Params) => tf.Tensor) => (p: Params) =>
      tf.sum<tf.Scalar>(tf.mul(f(p), tf.tensor2d(target, [3 * 70, 68])));
    const before = tf.memory().numTensors;
    const one = valueAndGrads(
      loss((p) => ops.geluBlock(T2(p.x), weightsOf(p), dims, EPS)),
      params,
    );
    const parts = valueAndGrads(
      loss((p) => composed(p, dims)),
      params,
    );
    expectClose(one.value.dataSync(), parts.value.dataSync(), 1e-5, 'value');
    for (const name of Object.keys(params)) {
      const [a, b] = [one.grads[name]!.dataSync(), parts.grads[name]!.dataSync()];
      const largest = Math.max(...b.map(Math.abs));
      expectClose(
        a.map((g) => g / largest),
        b.map((g) => g / largest),
        1e-5,
        `gradient of ${name}`,
      );
    }
    tf.dispose([one, parts]);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose(params);
  });

  it('names the argument whose shape does not fit', () => {
    tf.tidy(() => {
      const p = Object.fromEntries(
        Object.entries(inputsOf(6, 4, 10)).map(([name, { shape }]) => [name, tf.zeros(shape)]),
      );
      const dims = { batch: 2, length: 3, heads: 2, kvHeads: 2, headDim: 2 };
      expect(() => ops.geluBlock(T2(p.x), { ...weightsOf(p), down: weightsOf(p).out }, dims, EPS)).toThrow(
        'geluBlock: weight',
      );
      expect(() => ops.geluBlock(T2(p.x), weightsOf(p), { ...dims, length: 4 }, EPS)).toThrow('geluBlock: x');
    });
  });
});
