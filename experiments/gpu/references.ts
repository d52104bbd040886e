/** The kernels of the table (src/tensor/kernels.ts) in plain float64 loops, on flat row-major arrays: what `gpu kernels` holds an engine against. */
import type { AttentionDims } from '../../src/tensor/kernels.js';

export type Numbers = ArrayLike<number>;

/** n numbers, each by its index. */
export const make = (n: number, f: (i: number) => number): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => f(i));
/** One number a row of `width`. */
export const byRow = (x: Numbers, width: number, f: (row: Float64Array, n: number) => number): Float64Array =>
  make(x.length / width, (n) => f(rowOf(x, n, width), n));
/** A row for every row of `width`. */
export const rowByRow = (
  x: Numbers,
  width: number,
  f: (row: Float64Array, n: number) => Numbers,
): Float64Array => {
  const out = new Float64Array(x.length);
  for (let n = 0; n * width < x.length; n++) out.set(Float64Array.from(f(rowOf(x, n, width), n)), n * width);
  return out;
};
const rowOf = (x: Numbers, n: number, width: number): Float64Array => make(width, (i) => x[n * width + i]!);
export const sum = (x: Numbers): number => {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i]!;
  return total;
};
export const dot = (a: Numbers, b: Numbers): number => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
};

/** [N, I] times [I, O]. */
export function matMul(a: Numbers, b: Numbers, inner: number): Float64Array {
  const [rows, columns] = [a.length / inner, b.length / inner];
  const out = new Float64Array(rows * columns);
  for (let n = 0; n < rows; n++)
    for (let i = 0; i < inner; i++) {
      const x = a[n * inner + i]!;
      for (let o = 0; o < columns; o++) out[n * columns + o]! += x * b[i * columns + o]!;
    }
  return out;
}
export function transpose(x: Numbers, columns: number): Float64Array {
  const rows = x.length / columns;
  return make(x.length, (i) => x[(i % rows) * columns + Math.floor(i / rows)]!);
}
export const columnSums = (x: Numbers, columns: number): Float64Array =>
  make(columns, (c) => sum(make(x.length / columns, (n) => x[n * columns + c]!)));

const ROOT = Math.sqrt(2 / Math.PI);
export const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(ROOT * (x + 0.044715 * x ** 3)));
export function geluSlope(x: number): number {
  const t = Math.tanh(ROOT * (x + 0.044715 * x ** 3));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * x * x);
}
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const silu = (x: number): number => x * sigmoid(x);
export const siluSlope = (x: number): number => sigmoid(x) * (1 + x * (1 - sigmoid(x)));

/** Turns the pairs (i, i + half) of each head. */
export function rotary(
  x: Numbers,
  cos: Numbers,
  sin: Numbers,
  width: number,
  half: number,
  sign: 1 | -1,
): Float64Array {
  return make(x.length, (at) => {
    const [n, i, first] = [Math.floor(at / width), at % half, at % (2 * half) < half];
    const partner = first ? -x[at + half]! : x[at - half]!;
    return x[at]! * cos[n * half + i]! + sign * partner * sin[n * half + i]!;
  });
}

/** The normalised rows, and the inverse deviation of each; without `centred` by the root mean square alone. */
export function normalised(x: Numbers, width: number, eps: number, centred: boolean) {
  const mean = byRow(x, width, (row) => (centred ? sum(row) / width : 0));
  const inverse = byRow(
    x,
    width,
    (row, n) => 1 / Math.sqrt(sum(row.map((v) => (v - mean[n]!) ** 2)) / width + eps),
  );
  return { unit: rowByRow(x, width, (row, n) => row.map((v) => (v - mean[n]!) * inverse[n]!)), inverse };
}
/** Of a norm: for its input, its gain and its bias. */
export function normGrad(dy: Numbers, x: Numbers, gain: Numbers, eps: number, centred: boolean) {
  const width = gain.length;
  const { unit, inverse } = normalised(x, width, eps, centred);
  const dx = rowByRow(dy, width, (row, n) => {
    const [d, u] = [row.map((v, i) => v * gain[i]!), unit.subarray(n * width, (n + 1) * width)];
    const [along, level] = [dot(d, u) / width, centred ? sum(d) / width : 0];
    return d.map((v, i) => inverse[n]! * (v - level - u[i]! * along));
  });
  return {
    dx,
    dGain: columnSums(
      unit.map((u, i) => u * dy[i]!),
      width,
    ),
    dBias: columnSums(dy, width),
  };
}

/** Causal attention, and for a gradient of its output those of queries, keys and values. */
export function attention(q: Numbers, k: Numbers, v: Numbers, dims: AttentionDims, dy: Numbers) {
  const { batch, length, heads, kvHeads, headDim, window = 0 } = dims;
  const out = {
    o: new Float64Array(q.length),
    dq: new Float64Array(q.length),
    dk: new Float64Array(k.length),
    dv: new Float64Array(v.length),
  };
  const scale = 1 / Math.sqrt(headDim);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < length; t++) {
        const at = ((b * length + t) * heads + h) * headDim;
        const g = Math.floor((h * kvHeads) / heads);
        const from = window > 0 ? Math.max(0, t - window + 1) : 0;
        const past = Array.from(
          { length: t + 1 - from },
          (_, i) => ((b * length + from + i) * kvHeads + g) * headDim,
        );
        const product = (x: Numbers, i: number, y: Numbers, j: number): number => {
          let total = 0;
          for (let d = 0; d < headDim; d++) total += x[i + d]! * y[j + d]!;
          return total;
        };
        const p = softmax(past.map((u) => product(q, at, k, u) * scale));
        const dp = past.map((u) => product(dy, at, v, u));
        const mean = dot(p, dp);
        past.forEach((u, i) => {
          const ds = p[i]! * (dp[i]! - mean) * scale;
          for (let d = 0; d < headDim; d++) {
            out.o[at + d]! += p[i]! * v[u + d]!;
            out.dq[at + d]! += ds * k[u + d]!;
            out.dk[u + d]! += ds * q[at + d]!;
            out.dv[u + d]! += p[i]! * dy[at + d]!;
          }
        });
      }
  return out;
}

export function logSoftmax(row: Numbers): Float64Array {
  let most = -Infinity;
  for (let i = 0; i < row.length; i++) most = Math.max(most, row[i]!);
  const total = Math.log(sum(make(row.length, (i) => Math.exp(row[i]! - most))));
  return make(row.length, (i) => row[i]! - most - total);
}
export const softmax = (row: Numbers): Float64Array => logSoftmax(row).map(Math.exp);

/** A function of a row's distribution q = softmax(logits), and its slopes in ln q: value and gradient in the logits. */
export interface RowLoss {
  value: number;
  /** ∂value/∂ln q(v). */
  slopes: Float64Array;
}
/** Through the softmax: s(v) − q(v) Σ s. */
export function throughSoftmax(q: Numbers, slopes: Float64Array): Float64Array {
  const total = sum(slopes);
  return slopes.map((s, v) => s - q[v]! * total);
}
export function divergence(
  kind: 'reverseKl' | 'forwardKl' | 'crossEntropy',
  logq: Float64Array,
  logp: Float64Array,
): RowLoss {
  const [q, p] = [logq.map(Math.exp), logp.map(Math.exp)];
  if (kind === 'reverseKl') {
    const ratio = logq.map((x, v) => x - logp[v]!);
    return { value: dot(q, ratio), slopes: q.map((x, v) => x * (ratio[v]! + 1)) };
  }
  const entropy = kind === 'forwardKl' ? dot(p, logp) : 0;
  return { value: entropy - dot(p, logq), slopes: p.map((x) => -x) };
}
/** a KL(p‖m) + b KL(q‖m), m = c p + (1 − c) q. */
export function mixture(
  { a, b, c }: { a: number; b: number; c: number },
  logq: Float64Array,
  logp: Float64Array,
): RowLoss {
  const [q, p] = [logq.map(Math.exp), logp.map(Math.exp)];
  const m = q.map((x, v) => c * p[v]! + (1 - c) * x);
  const value = sum(
    q.map((x, v) => a * p[v]! * (logp[v]! - Math.log(m[v]!)) + b * x * (logq[v]! - Math.log(m[v]!))),
  );
  const slopes = q.map(
    (x, v) => x * (-((a * p[v]! + b * x) * (1 - c)) / m[v]! + b * (logq[v]! - Math.log(m[v]!) + 1)),
  );
  return { value, slopes };
}
export function totalVariation(logq: Float64Array, logp: Float64Array): RowLoss {
  const [q, p] = [logq.map(Math.exp), logp.map(Math.exp)];
  const difference = q.map((x, v) => x - p[v]!);
  return {
    value: 0.5 * sum(difference.map(Math.abs)),
    slopes: q.map((x, v) => 0.5 * x * Math.sign(difference[v]!)),
  };
}
