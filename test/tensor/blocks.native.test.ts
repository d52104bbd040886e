import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { engineName } from '../../src/tensor/kernels.js';
import * as ops from '../../src/tensor/ops/index.js';
import { type Params, valueAndGrads } from '../../src/tensor/params.js';
import { checkOp, expectClose, gaussian, type Input } from './gradcheck.js';
import * as reference from './ops.reference.js';

const absent = await initBackend({ backend: 'tensorflow' }).then(
  () => (engineName() === 'tensorflow' ? undefined : 'our kernels are not compiled'),
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
  attentionNorm: { gain: T1(p.g1), bias: T1(p.h1) },
  attention: [{ weight: T2(p.wa), bias: T1(p.ba) }],
  out: { weight: T2(p.wo), bias: T1(p.bo) },
  mlpNorm: { gain: T1(p.g2), bias: T1(p.h2) },
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
  const { up, down } = weightsOf(p);
  return ops.geluMlp(ops.layerNorm(y, T1(p.g2), T1(p.h2), EPS), { up, down }, y);
}

/** Value and gradients of a random projection, both ways, within 1e-5 of the largest; nothing is left behind. */
function checkAgainstParts(
  inputs: Record<string, Input>,
  whole: (p: Params) => tf.Tensor,
  parts: (p: Params) => tf.Tensor,
): void {
  const params = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, values }]) => [
      name,
      tf.tensor(
        values.map((value) => (name.startsWith('w') ? 0.2 * value : value)),
        shape,
      ),
    ]),
  );
  const target = gaussian(inputs.x!.shape, 'target').values;
  const loss = (f: (p: Params) => tf.Tensor) => (p: Params) => {
    const y = f(p);
    return tf.sum<tf.Scalar>(tf.mul(y, tf.tensor(target, y.shape)));
  };
  const before = tf.memory().numTensors;
  const [one, other] = [valueAndGrads(loss(whole), params), valueAndGrads(loss(parts), params)];
  expectClose(one.value.dataSync(), other.value.dataSync(), 1e-5, 'value');
  for (const name of Object.keys(params)) {
    const [a, b] = [one.grads[name]!.dataSync(), other.grads[name]!.dataSync()];
    const largest = Math.max(...b.map(Math.abs));
    expectClose(
      a.map((g) => g / largest),
      b.map((g) => g / largest),
      1e-5,
      `gradient of ${name}`,
    );
  }
  tf.dispose([one, other]);
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);
  tf.dispose(params);
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
    checkAgainstParts(
      inputsOf(3 * 70, 68, 275),
      (p) => ops.geluBlock(T2(p.x), weightsOf(p), dims, EPS),
      (p) => composed(p, dims),
    );
  });

  it('gives the same bits without a backward pass, for which less is kept', () => {
    const dims = { batch: 2, length: 3, heads: 2, kvHeads: 2, headDim: 2 };
    const params = Object.fromEntries(
      Object.entries(inputsOf(6, 4, 10)).map(([name, { shape, values }]) => [name, tf.tensor(values, shape)]),
    );
    const block = (p: Params) => ops.geluBlock(T2(p.x), weightsOf(p), dims, EPS);
    let taped: Float32Array | undefined;
    tf.tidy(() => {
      valueAndGrads((p) => {
        const y = block(p);
        taped = y.dataSync<'float32'>();
        return tf.sum(y);
      }, params);
      expect(block(params).dataSync()).toEqual(taped);
    });
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

interface GroupedDims extends ops.AttentionDims {
  width: number;
  inner: number;
}

function llamaInputs({ batch, length, heads, kvHeads, headDim, width, inner }: GroupedDims, biases: boolean) {
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  const maps: [name: string, from: number, to: number][] = [
    ['q', width, queries],
    ['k', width, keys],
    ['v', width, keys],
    ['o', queries, width],
    ['g', width, inner],
    ['u', width, inner],
    ['d', inner, width],
  ];
  return {
    x: gaussian([batch * length, width], 'x'),
    g1: gaussian([width], 'g1'),
    g2: gaussian([width], 'g2'),
    ...Object.fromEntries(
      maps.map(([name, from, to]) => [`w${name}`, gaussian([from, to], `w${name}`, 0.5)]),
    ),
    ...(biases &&
      Object.fromEntries(maps.map(([name, , to]) => [`b${name}`, gaussian([to], `b${name}`, 0.5)]))),
  } as Record<string, Input>;
}

const mapOf = (p: Params, name: string) => ({
  weight: T2(p[`w${name}`]),
  ...(p[`b${name}`] && { bias: T1(p[`b${name}`]) }),
});
const llamaWeights = (p: Params): ops.SwigluBlockWeights => ({
  attentionNorm: { gain: T1(p.g1) },
  attention: [mapOf(p, 'q'), mapOf(p, 'k'), mapOf(p, 'v')],
  out: mapOf(p, 'o'),
  mlpNorm: { gain: T1(p.g2) },
  gate: mapOf(p, 'g'),
  up: mapOf(p, 'u'),
  down: mapOf(p, 'd'),
});

function angles({ batch, length, headDim }: GroupedDims): [cos: number[], sin: number[]] {
  const at = Array.from({ length: (batch * length * headDim) / 2 }, (_, i) => {
    const [row, pair] = [Math.floor(i / (headDim / 2)), i % (headDim / 2)];
    return (row % length) / 3 ** pair;
  });
  return [at.map((a) => Math.fround(Math.cos(a))), at.map((a) => Math.fround(Math.sin(a)))];
}

describe('swigluBlock', () => {
  if (absent) {
    it.skip(`skipped: ${absent}`);
    return;
  }

  const small = { batch: 2, length: 3, heads: 4, kvHeads: 2, headDim: 2, width: 6, inner: 7 };
  const shape = [small.batch * small.length, small.headDim / 2] as [number, number];
  it.each([false, true])(
    'value and gradients of a small block, against numbers in float64, biases: %s',
    (biases) => {
      const [cos, sin] = angles(small);
      const { linear, rmsNorm, rotary } = reference;
      checkOp({
        inputs: llamaInputs(small, biases),
        op: (p) =>
          ops.swigluBlock(
            T2(p.x),
            llamaWeights(p),
            [tf.tensor2d(cos, shape), tf.tensor2d(sin, shape)],
            small,
            EPS,
          ),
        reference: (n) => {
          const map = (x: number[], name: string, from: number, to: number) =>
            linear(x, n[`w${name}`]!, n[`b${name}`] ?? new Array<number>(to).fill(0), from);
          const h = rmsNorm(n.x!, n.g1!, EPS);
          const q = rotary(map(h, 'q', 6, 8), cos, sin, 4, 1);
          const k = rotary(map(h, 'k', 6, 4), cos, sin, 2, 1);
          const a = reference.causalAttention(q, k, map(h, 'v', 6, 4), small);
          const y = map(a, 'o', 8, 6).map((value, i) => value + n.x![i]!);
          const m = rmsNorm(y, n.g2!, EPS);
          const inside = reference.swiglu(map(m, 'g', 6, 7), map(m, 'u', 6, 7));
          return map(inside, 'd', 7, 6).map((value, i) => value + y[i]!);
        },
        gradTolerance: 3e-4,
      });
    },
  );

  it('is the composition of its parts at a width of many tiles', () => {
    const dims = {
      batch: 3,
      length: 70,
      heads: 6,
      kvHeads: 2,
      headDim: 18,
      width: 68,
      inner: 275,
      window: 40,
    };
    const rows: [number, number] = [210, 9];
    const turns = () => angles(dims).map((values) => tf.tensor2d(values, rows)) as [tf.Tensor2D, tf.Tensor2D];
    checkAgainstParts(
      llamaInputs(dims, true),
      (p) => ops.swigluBlock(T2(p.x), llamaWeights(p), turns(), dims, EPS),
      (p) => {
        const map = (x: tf.Tensor2D, name: string, residual?: tf.Tensor2D) =>
          ops.linear(x, T2(p[`w${name}`]), T1(p[`b${name}`]), residual);
        const [cos, sin] = turns();
        const h = ops.rmsNorm(T2(p.x), T1(p.g1), EPS);
        const q = ops.rotary(map(h, 'q'), cos, sin, dims.heads);
        const k = ops.rotary(map(h, 'k'), cos, sin, dims.kvHeads);
        const y = map(ops.causalAttention(q, k, map(h, 'v'), dims), 'o', T2(p.x));
        const m = ops.rmsNorm(y, T1(p.g2), EPS);
        return map(ops.swiglu(map(m, 'g'), map(m, 'u')), 'd', y);
      },
    );
  });

  it('names the argument whose shape does not fit', () => {
    tf.tidy(() => {
      const p = Object.fromEntries(
        Object.entries(llamaInputs(small, true)).map(([name, input]) => [name, tf.zeros(input.shape)]),
      );
      const turns: [tf.Tensor2D, tf.Tensor2D] = [tf.zeros(shape), tf.zeros(shape)];
      const weights = llamaWeights(p);
      const [q, , v] = weights.attention;
      expect(() => ops.swigluBlock(T2(p.x), { ...weights, attention: [q, q, v] }, turns, small, EPS)).toThrow(
        'swigluBlock: weight',
      );
      expect(() => ops.swigluBlock(T2(p.x), weights, turns, { ...small, headDim: 4 }, EPS)).toThrow(
        'swigluBlock: angles',
      );
    });
  });
});
