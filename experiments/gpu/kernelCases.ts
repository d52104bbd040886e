import * as tf from '@tensorflow/tfjs-core';
import { createCache, decodeStep, disposeCache, prefill } from '../../src/models/cache.js';
import { newModelConfig } from '../../src/models/families.js';
import { headLogits, initModel } from '../../src/models/model.js';
import { normal, stream } from '../../src/random/streams.js';
import {
  type AttentionDims,
  type DivergenceKind,
  type Kernels,
  type LogitEdits,
  type MixtureKind,
  NEVER,
  type SampleSettings,
} from '../../src/tensor/kernels.js';
import { disposeParams } from '../../src/tensor/params.js';
import { referenceLogits } from '../../test/helpers/referenceModel.js';
import * as right from './references.js';
import { checkDraw } from './sampleReference.js';

/** What a kernel gave, and what is right. Whoever runs a case frees its tensors by the scope around it. */
export type Result = [what: string, found: tf.Tensor | ArrayLike<number>, right: ArrayLike<number>];

export interface Sizes {
  rows: number;
  width: number;
  inner: number;
  vocab: number;
  attention: AttentionDims[];
}

/** Small ones for the emulator and compute-sanitizer. None is a multiple of a tile. */
export function sizesOf(small: boolean): Sizes {
  const grouped = { batch: 2, heads: 4, kvHeads: 2 };
  return small
    ? {
        rows: 13,
        width: 40,
        inner: 72,
        vocab: 333,
        attention: [{ ...grouped, length: 37, headDim: 16, window: 0 }],
      }
    : {
        ...{ rows: 131, width: 768, inner: 1536, vocab: 50_257 },
        attention: [
          { ...grouped, length: 131, headDim: 64, window: 0 },
          { ...grouped, length: 131, headDim: 128, window: 50 },
          { ...grouped, length: 37, headDim: 16, window: 0 },
        ],
      };
}

interface Case {
  run(k: Kernels, sizes: Sizes): Result[];
  /** Whether factors of products are rounded in tf32. */
  product?: boolean;
}

const kept = { of: '', values: [] as unknown[], next: 0 };

/** Before every run of a case: what its last run computed by `once` is kept. */
export function beginCase(name: string): void {
  if (kept.of !== name) [kept.of, kept.values] = [name, []];
  kept.next = 0;
}

/** Float64 loops are slow, and every precision is held against the same: computed in the first run of a case, kept for the others. */
function once<T>(compute: () => T): T {
  const at = kept.next++;
  if (at === kept.values.length) kept.values.push(compute());
  return kept.values[at] as T;
}

type T1 = tf.Tensor1D;
type T2 = tf.Tensor2D;

/** Seeded normal numbers, as the float32 numbers that both sides see. */
function draw(size: number, name: string, scale = 1): Float32Array {
  const rng = stream(11, 'kernels', name, size);
  return Float32Array.from({ length: size }, () => scale * normal(rng));
}
const t1 = (x: Float32Array): T1 => tf.tensor1d(x);
const t2 = (x: Float32Array, columns: number): T2 => tf.tensor2d(x, [x.length / columns, columns]);
const ids = (n: number, below: number): Int32Array =>
  Int32Array.from({ length: n }, (_, i) => (i * 7919 + 3) % below);
const add = (x: Float64Array, y: ArrayLike<number>): Float64Array => x.map((v, i) => v + y[i % y.length]!);

/** All that compute; `addresses` only says where numbers lie. */
export const cases: Record<Exclude<keyof Kernels, 'addresses'>, Case> = {
  matMul: {
    product: true,
    run(k, { rows, width, inner }) {
      const [a, b] = [draw(rows * width, 'a'), draw(width * inner, 'b')];
      const [bias, residual] = [draw(inner, 'bias'), draw(rows * inner, 'residual')];
      const plain = once(() => right.matMul(a, b, width));
      const at = Float32Array.from(right.transpose(a, width));
      const bt = Float32Array.from(right.transpose(b, inner));
      const [A, B] = [t2(a, width), t2(b, inner)];
      return [
        ['plain', k.matMul(A, B), plain],
        [
          'bias and residual',
          k.matMul(A, B, { bias: t1(bias), residual: t2(residual, inner) }),
          add(add(plain, bias), residual),
        ],
        ['transposed left', k.matMul(t2(at, rows), B, { transposeA: true }), plain],
        ['transposed right', k.matMul(A, t2(bt, width), { transposeB: true }), plain],
      ];
    },
  },
  linearGelu: {
    product: true,
    run(k, { rows, width, inner }) {
      const [x, w, b] = [draw(rows * width, 'x'), draw(width * inner, 'w', width ** -0.5), draw(inner, 'b')];
      const u = once(() => add(right.matMul(x, w, width), b));
      const [h, slope] = k.linearGelu(t2(x, width), t2(w, inner), t1(b), true);
      return [
        ['value', h, u.map(right.gelu)],
        ['slope', slope, u.map(right.geluSlope)],
      ];
    },
  },
  geluLinearGrad: {
    product: true,
    run(k, { rows, width, inner }) {
      const [dy, w, slope] = [
        draw(rows * width, 'dy'),
        draw(inner * width, 'w'),
        draw(rows * inner, 'slope'),
      ];
      const y = once(() => right.matMul(dy, right.transpose(w, width), width).map((v, i) => v * slope[i]!));
      return [['', k.geluLinearGrad(t2(dy, width), t2(w, width), t2(slope, inner)), y]];
    },
  },
  weightGrads: {
    product: true,
    run(k, { rows, width, inner }) {
      const [x, dy] = [draw(rows * width, 'x'), draw(rows * inner, 'dy')];
      const [dw, db] = k.weightGrads(t2(x, width), t2(dy, inner));
      return [
        ['weights', dw, once(() => right.matMul(right.transpose(x, width), dy, rows))],
        ['bias', db, right.columnSums(dy, inner)],
      ];
    },
  },
  columnSums: {
    run(k, { rows, width }) {
      const x = draw(rows * width, 'x');
      return [['', k.columnSums(t2(x, width)), right.columnSums(x, width)]];
    },
  },
  gelu: {
    run(k, { rows, width }) {
      const x = draw(rows * width, 'x', 2);
      return [['', k.gelu(t2(x, width)), Float64Array.from(x, right.gelu)]];
    },
  },
  geluGrad: {
    run(k, { rows, width }) {
      const [dy, x] = [draw(rows * width, 'dy'), draw(rows * width, 'x', 2)];
      return [
        [
          '',
          k.geluGrad(t2(dy, width), t2(x, width)),
          Float64Array.from(x, (v, i) => right.geluSlope(v) * dy[i]!),
        ],
      ];
    },
  },
  swiglu: {
    run(k, { rows, width }) {
      const [gate, up] = [draw(rows * width, 'gate', 2), draw(rows * width, 'up')];
      return [
        [
          '',
          k.swiglu(t2(gate, width), t2(up, width)),
          Float64Array.from(gate, (g, i) => right.silu(g) * up[i]!),
        ],
      ];
    },
  },
  swigluGrad: {
    run(k, { rows, width }) {
      const [dy, gate, up] = [
        draw(rows * width, 'dy'),
        draw(rows * width, 'gate', 2),
        draw(rows * width, 'up'),
      ];
      const [dGate, dUp] = k.swigluGrad(t2(dy, width), t2(gate, width), t2(up, width));
      return [
        ['gate', dGate, Float64Array.from(gate, (g, i) => dy[i]! * up[i]! * right.siluSlope(g))],
        ['up', dUp, Float64Array.from(gate, (g, i) => dy[i]! * right.silu(g))],
      ];
    },
  },
  rotary: {
    run(k, { rows, attention: [dims] }) {
      const [heads, half] = [dims!.heads, dims!.headDim / 2];
      const [x, angles] = [draw(rows * heads * 2 * half, 'x'), draw(rows * half, 'angles', 3)];
      const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
      const given: [T2, T2] = [t2(cos, half), t2(sin, half)];
      return ([1, -1] as const).map((sign) => [
        `sign ${sign}`,
        k.rotary(t2(x, heads * 2 * half), given, heads, sign),
        right.rotary(x, cos, sin, heads * 2 * half, half, sign),
      ]);
    },
  },
  layerNorm: {
    run(k, { rows, width }) {
      const [x, gain, bias] = [draw(rows * width, 'x', 3), draw(width, 'gain'), draw(width, 'bias')];
      const { unit } = right.normalised(x, width, 1e-5, true);
      const [y] = k.layerNorm(t2(x, width), t1(gain), t1(bias), 1e-5);
      return [
        [
          '',
          y,
          add(
            unit.map((u, i) => u * gain[i % width]!),
            bias,
          ),
        ],
      ];
    },
  },
  layerNormGrad: { run: (k, sizes) => normGrads(k, sizes, true) },
  rmsNorm: {
    run(k, { rows, width }) {
      const [x, gain] = [draw(rows * width, 'x', 3), draw(width, 'gain')];
      const { unit } = right.normalised(x, width, 1e-5, false);
      const [y] = k.rmsNorm(t2(x, width), t1(gain), 1e-5);
      return [['', y, unit.map((u, i) => u * gain[i % width]!)]];
    },
  },
  rmsNormGrad: { run: (k, sizes) => normGrads(k, sizes, false) },
  attention: { product: true, run: (k, sizes) => sizes.attention.flatMap((dims) => attends(k, dims, false)) },
  attentionGrad: {
    product: true,
    run: (k, sizes) => sizes.attention.flatMap((dims) => attends(k, dims, true)),
  },
  decodeAttention: {
    product: true,
    run: (k, sizes) => sizes.attention.map((dims) => decodes(k, dims)),
  },
  decode: {
    product: true,
    run: (_, { attention: [dims] }) =>
      (['gpt2', 'llama'] as const).map((family) => decodesModel(family, dims!)),
  },
  gatherRows: {
    run(k, { rows, width }) {
      const [x, at] = [draw(rows * width, 'x'), ids(2 * rows, rows)];
      const y = right.make(at.length * width, (i) => x[at[Math.floor(i / width)]! * width + (i % width)]!);
      return [['', k.gatherRows(t2(x, width), tf.tensor1d(at, 'int32')), y]];
    },
  },
  gatherRowsGrad: {
    run(k, { rows, width }) {
      // Some rows many times, some never.
      const at = ids(4 * rows, rows).map((row, i) => (i % 3 === 0 ? 1 : row));
      const dy = draw(at.length * width, 'dy');
      const y = new Float64Array(rows * width);
      for (let i = 0; i < dy.length; i++) y[at[Math.floor(i / width)]! * width + (i % width)]! += dy[i]!;
      return [['', k.gatherRowsGrad(t2(dy, width), tf.tensor1d(at, 'int32'), rows), y]];
    },
  },
  writeRows: {
    run(k, { rows, width }) {
      const [buffer, values, at] = [
        draw(rows * width, 'buffer'),
        draw(3 * width, 'values'),
        Int32Array.of(5, 0, rows - 1),
      ];
      const y = Float64Array.from(buffer);
      at.forEach((row, n) => {
        y.set(values.subarray(n * width, (n + 1) * width), row * width);
      });
      return [['', k.writeRows(t2(buffer, width), at, t2(values, width)), y]];
    },
  },
  tokenLogprob: {
    run(k, { vocab }) {
      const [x, at] = [draw(7 * vocab, 'logits', 3), ids(7, vocab)];
      const [y] = k.tokenLogprob(t2(x, vocab), tf.tensor1d(at, 'int32'));
      return [['', y, right.byRow(x, vocab, (row, n) => right.logSoftmax(row)[at[n]!]!)]];
    },
  },
  tokenLogprobGrad: {
    run(k, { vocab }) {
      const [x, at, dy] = [draw(7 * vocab, 'logits', 3), ids(7, vocab), draw(7, 'dy')];
      const [, kept] = k.tokenLogprob(t2(x, vocab), tf.tensor1d(at, 'int32'));
      const grad = right.rowByRow(x, vocab, (row, n) =>
        right.softmax(row).map((p, v) => dy[n]! * ((v === at[n] ? 1 : 0) - p)),
      );
      return [['', k.tokenLogprobGrad(t1(dy), kept), grad]];
    },
  },
  headLogprob: {
    product: true,
    run(k, { vocab, ...sizes }) {
      const width = Math.min(sizes.width, 96);
      const states = draw(7 * width, 'states', 0.3);
      return [true, false].map((tied): Result => {
        const weight = once(() => draw(width * vocab, `head ${tied}`, 0.5));
        const logits = once(() =>
          right.matMul(states, tied ? right.transpose(weight, width) : weight, width),
        );
        const at = ids(7, vocab);
        const head = { weight: t2(weight, tied ? width : vocab), tied };
        const y = k.headLogprob(t2(states, width), head, tf.tensor1d(at, 'int32'), 1 << 20);
        return [
          tied ? 'tied' : 'untied',
          y,
          right.byRow(logits, vocab, (row, n) => right.logSoftmax(row)[at[n]!]!),
        ];
      });
    },
  },
  divergence: { run: (k, { vocab }) => DIVERGENCES.map((kind) => divergences(k, kind, vocab, false)) },
  divergenceGrad: { run: (k, { vocab }) => DIVERGENCES.map((kind) => divergences(k, kind, vocab, true)) },
  mixture: { run: (k, { vocab }) => MIXTURES.map((of) => mixtures(k, of, vocab, false)) },
  mixtureGrad: { run: (k, { vocab }) => MIXTURES.map((of) => mixtures(k, of, vocab, true)) },
  sample: {
    run(k, { vocab }) {
      const rows = 9;
      const [q, p] = [draw(rows * vocab, 'student', 2), draw(rows * vocab, 'teacher', 2)];
      const uniforms = Array.from({ length: rows }, (_, i) => (i + 0.37) / rows);
      const plain = { temperature: 1, alpha: 0, topK: 0, topP: 1, minP: 0, greedy: false, vocab };
      const settings: [string, SampleSettings, boolean][] = [
        ['plain', plain, false],
        ['mixed', { ...plain, alpha: 0.3 }, true],
        ['temperature, top-k and top-p', { ...plain, temperature: 0.7, topK: 50, topP: 0.8 }, false],
        ['min-p', { ...plain, minP: 0.05 }, false],
        ['edits and a mixture', { ...plain, alpha: 0.3, temperature: 1.4 }, true],
        ['greedy, a smaller vocabulary', { ...plain, greedy: true, vocab: vocab - 5 }, true],
      ];
      return settings.flatMap(([what, of, taught]) => {
        const edits = what.startsWith('edits') ? editsFor(rows, vocab) : undefined;
        const records = k.sample(t2(q, vocab), taught ? t2(p, vocab) : undefined, uniforms, of, edits);
        const expected = checkDraw(records, q, taught ? p : undefined, uniforms, of, vocab, edits);
        const part = <T extends Float32Array | Float64Array>(x: T, i: number) =>
          x.slice(i * rows, (i + 1) * rows);
        return RECORDS.map((name, i): Result => [`${what}: ${name}`, part(records, i), part(expected, i)]);
      });
    },
  },
  squaredNorm: {
    run(k, { rows, width, inner }) {
      const xs = [draw(rows * width, 'x'), draw(inner, 'y'), draw(width * inner, 'z')];
      const total = right.sum(xs.map((x) => right.dot(x, x)));
      return [['', k.squaredNorm(xs.map(t1)), [total]]];
    },
  },
  addScaled: {
    run(k, { rows, width }) {
      const [a, b] = [draw(rows * width, 'a'), draw(rows * width, 'b')];
      return [['', k.addScaled([t1(a)], [t1(b)], 0.3)[0]!, Float64Array.from(a, (x, i) => x + 0.3 * b[i]!)]];
    },
  },
  adamW: {
    run(k, { rows, width }) {
      const size = rows * width + 3;
      const [p, m, g] = [draw(size, 'p'), draw(size, 'm', 0.1), draw(size, 'g')];
      const v = draw(size, 'v', 0.1).map((x) => x * x);
      const numbers = {
        decay: [1e-3],
        gradScale: 0.5,
        stepSize: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
      };
      const first = right.make(size, (i) => 0.9 * m[i]! + 0.1 * 0.5 * g[i]!);
      const second = right.make(size, (i) => 0.95 * v[i]! + 0.05 * (0.5 * g[i]!) ** 2);
      const weights = right.make(
        size,
        (i) => p[i]! * (1 - 1e-3) - (1e-2 * first[i]!) / (Math.sqrt(second[i]!) + 1e-8),
      );
      // Only now: the arrays may be the very memory that it updates.
      const next = k.adamW({ params: [t1(p)], first: [t1(m)], second: [t1(v)] }, [t1(g)], numbers);
      return [
        ['weights', next.params[0]!, weights],
        ['first moments', next.first[0]!, first],
        ['second moments', next.second[0]!, second],
      ];
    },
  },
};

function normGrads(k: Kernels, { rows, width }: Sizes, centred: boolean): Result[] {
  const [dy, x, gain] = [draw(rows * width, 'dy'), draw(rows * width, 'x', 3), draw(width, 'gain')];
  const residual = draw(rows * width, 'residual');
  const [X, G, DY, R] = [t2(x, width), t1(gain), t2(dy, width), t2(residual, width)];
  const [, stats] = centred ? k.layerNorm(X, G, t1(gain), 1e-5) : k.rmsNorm(X, G, 1e-5);
  const [dx, dGain, dBias] = centred
    ? k.layerNormGrad(DY, X, G, stats, R)
    : k.rmsNormGrad(DY, X, G, stats, R);
  const expected = right.normGrad(dy, x, gain, 1e-5, centred);
  return [
    ['input', dx, add(expected.dx, residual)],
    ['gain', dGain, expected.dGain],
    ...(dBias ? [['bias', dBias, expected.dBias] as Result] : []),
  ];
}

function attends(k: Kernels, dims: AttentionDims, gradient: boolean): Result[] {
  const { batch, length, heads, kvHeads, headDim } = dims;
  const [n, wide, narrow] = [batch * length, heads * headDim, kvHeads * headDim];
  const [q, key, v, dy] = [
    draw(n * wide, 'q'),
    draw(n * narrow, 'k'),
    draw(n * narrow, 'v'),
    draw(n * wide, 'dy'),
  ];
  const expected = once(() => right.attention(q, key, v, dims, dy));
  const together = new Float32Array(n * (wide + 2 * narrow));
  for (let i = 0; i < n; i++) {
    const at = i * (wide + 2 * narrow);
    together.set(q.subarray(i * wide, (i + 1) * wide), at);
    together.set(key.subarray(i * narrow, (i + 1) * narrow), at + wide);
    together.set(v.subarray(i * narrow, (i + 1) * narrow), at + wide + narrow);
  }
  const apart: [T2, T2, T2] = [t2(q, wide), t2(key, narrow), t2(v, narrow)];
  const about = `heads of ${headDim}`;
  return [apart, [t2(together, wide + 2 * narrow)] as [T2]].flatMap((parts): Result[] => {
    const [o, kept] = k.attention(parts, dims);
    const how = parts.length === 1 ? `${about}, packed` : about;
    if (!gradient) return [[how, o, expected.o]];
    const grads = k.attentionGrad(t2(dy, wide), { parts, o, kept }, dims);
    if (parts.length === 3)
      return (['dq', 'dk', 'dv'] as const).map((name, i) => [`${how}: ${name}`, grads[i]!, expected[name]]);
    const all = right.make(together.length, (i) => {
      const [row, column] = [Math.floor(i / (wide + 2 * narrow)), i % (wide + 2 * narrow)];
      if (column < wide) return expected.dq[row * wide + column]!;
      return column < wide + narrow
        ? expected.dk[row * narrow + column - wide]!
        : expected.dv[row * narrow + column - wide - narrow]!;
    });
    return [[how, grads[0]!, all]];
  });
}

/** Token after token through a cache; the last must be the last row of attention over all. */
function decodes(k: Kernels, dims: AttentionDims): Result {
  const { batch, length, heads, kvHeads, headDim, window = 0 } = dims;
  const [wide, narrow] = [heads * headDim, kvHeads * headDim];
  const make = (name: string, width: number): Float32Array => draw(batch * length * width, name);
  const [q, key, v] = [make('q', wide), make('k', narrow), make('v', narrow)];
  const slots = length + 3;
  const cache = {
    keys: tf.zeros([batch * kvHeads * slots, headDim]) as T2,
    values: tf.zeros([batch * kvHeads * slots, headDim]) as T2,
  };
  const at = (x: Float32Array, t: number, width: number): T2 => {
    const rows = new Float32Array(batch * width);
    for (let b = 0; b < batch; b++)
      rows.set(x.subarray((b * length + t) * width, (b * length + t + 1) * width), b * width);
    return t2(rows, width);
  };
  let o: T2 | undefined;
  for (let t = 0; t < length; t++) {
    const given = [at(q, t, wide), at(key, t, narrow), at(v, t, narrow)] as const;
    o = k.decodeAttention(...given, cache, new Int32Array(batch).fill(t), { heads, kvHeads, window });
  }
  const all = once(() => right.attention(q, key, v, dims, q)).o;
  const last = right.make(
    batch * wide,
    (i) => all[(Math.floor(i / wide) * length + length - 1) * wide + (i % wide)]!,
  );
  return [`heads of ${headDim}`, o!, last];
}

/** Three tokens through a whole small model after a prefill, against the model in float64. */
function decodesModel(family: 'gpt2' | 'llama', { heads, headDim, kvHeads }: AttentionDims): Result {
  const [batch, prompt, more, vocab] = [3, 5, 3, 61];
  const shape = { vocabSize: vocab, hiddenSize: heads * headDim, layers: 2, heads, maxPositions: 16 };
  const config = newModelConfig(family, { ...shape, ...(family === 'llama' && { kvHeads }) });
  const model = initModel({ ...config, initStd: 0.08 }, 3);
  const rows = Array.from({ length: batch }, (_, b) =>
    ids(prompt + more, vocab).map((id) => (id + 5 * b) % vocab),
  );
  const cache = createCache(config, batch, prompt + more);
  tf.dispose(
    prefill(model, cache, Int32Array.from(rows.flatMap((row) => [...row.slice(0, prompt)])), batch, prompt),
  );
  let logits: T2 | undefined;
  for (let t = prompt; t < prompt + more; t++) {
    const tokens = Int32Array.from(rows, (row) => row[t]!);
    logits = tf.tidy(() =>
      headLogits(model.params, config, decodeStep(model, cache, tokens, new Int32Array(batch).fill(t))),
    );
  }
  const expected = once(() => rows.flatMap((row) => referenceLogits(model, [...row]).at(-1)!));
  disposeCache(cache);
  disposeParams(model.params);
  return [family, logits!, expected];
}

/** What a draw records, a row each. */
const RECORDS = ['tokens', 'ln q', 'entropy', 'ln of the draw', 'ln p', 'KL', 'sum of squares'];

const DIVERGENCES: DivergenceKind[] = ['reverseKl', 'forwardKl', 'crossEntropy'];
const MIXTURES: MixtureKind[] = [
  { a: 0.3, b: 0.7, c: 0.3 },
  { a: 1, b: 0, c: 0.1 },
  { a: 0, b: 1, c: 0.9 },
  'totalVariation',
];

const divergences = (k: Kernels, kind: DivergenceKind, vocab: number, gradient: boolean): Result =>
  rowLosses(kind, vocab, gradient, {
    slow: (logq, logp) => right.divergence(kind, logq, logp),
    forward: (q, p) => k.divergence(kind, q, p),
    backward: (dy, kept) => k.divergenceGrad(kind, dy, kept),
  });

const mixtures = (k: Kernels, of: MixtureKind, vocab: number, gradient: boolean): Result =>
  rowLosses(JSON.stringify(of), vocab, gradient, {
    slow: (logq, logp) =>
      of === 'totalVariation' ? right.totalVariation(logq, logp) : right.mixture(of, logq, logp),
    forward: (q, p) => k.mixture(of, q, p),
    backward: (dy, kept) => k.mixtureGrad(of, dy, kept),
  });

function rowLosses(
  what: string,
  vocab: number,
  gradient: boolean,
  by: {
    slow(logq: Float64Array, logp: Float64Array): right.RowLoss;
    forward(q: T2, p: T2): [T1, tf.Tensor[]];
    backward(dy: T1, kept: tf.Tensor[]): T2;
  },
): Result {
  const [q, p, dy] = [draw(5 * vocab, 'student', 2), draw(5 * vocab, 'teacher', 2), draw(5, 'dy')];
  const losses = once(() =>
    Array.from({ length: 5 }, (_, n) => {
      const row = (x: Float32Array) => right.logSoftmax(x.subarray(n * vocab, (n + 1) * vocab));
      return { logq: row(q), ...by.slow(row(q), row(p)) };
    }),
  );
  const [y, kept] = by.forward(t2(q, vocab), t2(p, vocab));
  if (!gradient) return [what, y, losses.map(({ value }) => value)];
  const grad = right.rowByRow(q, vocab, (_, n) =>
    right.throughSoftmax(losses[n]!.logq.map(Math.exp), losses[n]!.slopes).map((x) => x * dy[n]!),
  );
  return [what, by.backward(t1(dy), kept), grad];
}

/** Every row but the first has some tokens penalised and every second of them forbidden. */
function editsFor(rows: number, vocab: number): LogitEdits {
  const own = Array.from({ length: rows }, (_, n) => (n === 0 ? [] : [n, 3 * n + 40, 5 * n + 90]));
  const ids = own.flat().map((id) => id % vocab);
  const ends = own.map((_, n) => own.slice(0, n + 1).flat().length);
  return {
    starts: Int32Array.of(0, ...ends),
    ids: Int32Array.from(ids),
    factors: Float32Array.from(ids, (_, i) => (i % 2 === 0 ? 1.6 : NEVER)),
  };
}
