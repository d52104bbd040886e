/** Slow, obvious float64 versions of the operations, on flat row-major arrays. */

type Numbers = readonly number[];

const at = (x: Numbers, i: number): number => x[i]!;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const sum = (x: Numbers): number => x.reduce((a, b) => a + b, 0);
const rowsOf = (x: Numbers, width: number): number[][] =>
  range(x.length / width).map((n) => x.slice(n * width, (n + 1) * width));

/** [N, I] times [I, O]. */
export function matMul(a: Numbers, b: Numbers, inner: number): number[] {
  const rows = a.length / inner;
  const columns = b.length / inner;
  const y = new Array<number>(rows * columns).fill(0);
  // Loops, for these are the largest sums of the suite.
  for (let n = 0; n < rows; n++)
    for (let o = 0; o < columns; o++)
      for (let i = 0; i < inner; i++) y[n * columns + o]! += a[n * inner + i]! * b[i * columns + o]!;
  return y;
}

export const linear = (x: Numbers, w: Numbers, b: Numbers, inner: number): number[] =>
  matMul(x, w, inner).map((y, i) => y + at(b, i % b.length));

export const transpose = (x: Numbers, columns: number): number[] =>
  range(columns).flatMap((c) => rowsOf(x, columns).map((row) => at(row, c)));

export const gatherRows = (x: Numbers, width: number, rows: Numbers): number[] =>
  rows.flatMap((row) => x.slice(row * width, (row + 1) * width));

export const layerNorm = (x: Numbers, gain: Numbers, bias: Numbers, eps: number): number[] =>
  rowsOf(x, gain.length).flatMap((row) => {
    const mean = sum(row) / row.length;
    const variance = sum(row.map((v) => (v - mean) ** 2)) / row.length;
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + eps)) * at(gain, i) + at(bias, i));
  });

export const rmsNorm = (x: Numbers, gain: Numbers, eps: number): number[] =>
  rowsOf(x, gain.length).flatMap((row) => {
    const meanSquare = sum(row.map((v) => v * v)) / row.length;
    return row.map((v, i) => (v / Math.sqrt(meanSquare + eps)) * at(gain, i));
  });

export const gelu = (x: Numbers): number[] =>
  x.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));

/** x Φ(x), Φ by its series (Abramowitz and Stegun 26.2.10 is the same in erf): Φ(x) = ½ + φ(x) Σ_k x^(2k+1) / (1·3·…·(2k+1)). */
export const exactGelu = (x: Numbers): number[] =>
  x.map((v) => {
    let term = v;
    let total = v;
    for (let k = 1; k < 200; k++) {
      term *= v ** 2 / (2 * k + 1);
      total += term;
    }
    return v * (0.5 + (Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI)) * total);
  });

export const swiglu = (gate: Numbers, up: Numbers): number[] =>
  gate.map((g, i) => (g / (1 + Math.exp(-g))) * at(up, i));

export function rotary(x: Numbers, cos: Numbers, sin: Numbers, heads: number, half: number): number[] {
  const width = heads * 2 * half;
  return rowsOf(x, width).flatMap((row, n) =>
    row.map((v, j) => {
      const i = j % half;
      const first = j % (2 * half) < half;
      const partner = first ? -at(row, j + half) : at(row, j - half);
      return v * at(cos, n * half + i) + partner * at(sin, n * half + i);
    }),
  );
}

export const softmax = (row: Numbers): number[] => {
  const e = row.map((v) => Math.exp(v - Math.max(...row)));
  return e.map((v) => v / sum(e));
};

export const logSoftmax = (row: Numbers): number[] => {
  const max = Math.max(...row);
  const logSum = Math.log(sum(row.map((v) => Math.exp(v - max))));
  return row.map((v) => v - max - logSum);
};

/** One query head over the first `length` slots of one key/value head; all vectors are slices of flat arrays. */
function attend(q: Numbers, keys: Numbers[], values: Numbers[]): number[] {
  const p = softmax(keys.map((k) => sum(q.map((v, i) => v * at(k, i))) / Math.sqrt(q.length)));
  return range(q.length).map((i) => sum(values.map((v, u) => at(p, u) * at(v, i))));
}

export function causalAttention(
  q: Numbers,
  k: Numbers,
  v: Numbers,
  dims: { batch: number; length: number; heads: number; kvHeads: number; headDim: number; window?: number },
): number[] {
  const { batch, length, heads, kvHeads, headDim, window = Infinity } = dims;
  const head = (x: Numbers, count: number, b: number, t: number, h: number) => {
    const start = ((b * length + t) * count + h) * headDim;
    return x.slice(start, start + headDim);
  };
  return range(batch).flatMap((b) =>
    range(length).flatMap((t) =>
      range(heads).flatMap((h) => {
        const g = Math.floor((h * kvHeads) / heads);
        const past = range(t + 1).filter((u) => t - u < window);
        return attend(
          head(q, heads, b, t, h),
          past.map((u) => head(k, kvHeads, b, u, g)),
          past.map((u) => head(v, kvHeads, b, u, g)),
        );
      }),
    ),
  );
}

export function cachedAttention(
  q: Numbers,
  keys: Numbers,
  values: Numbers,
  open: boolean[][],
  dims: { batch: number; slots: number; heads: number; kvHeads: number; headDim: number },
): number[] {
  const { batch, slots, heads, kvHeads, headDim } = dims;
  return range(batch).flatMap((b) =>
    range(heads).flatMap((h) => {
      const g = Math.floor((h * kvHeads) / heads);
      const read = (x: Numbers) =>
        range(slots)
          .filter((s) => open[b]![s])
          .map((s) => {
            const start = ((b * kvHeads + g) * slots + s) * headDim;
            return x.slice(start, start + headDim);
          });
      const start = (b * heads + h) * headDim;
      return attend(q.slice(start, start + headDim), read(keys), read(values));
    }),
  );
}

export const tokenLogprob = (logits: Numbers, width: number, ids: Numbers): number[] =>
  rowsOf(logits, width).map((row, n) => at(logSoftmax(row), at(ids, n)));

/** Σ_v weight(v) · term(v), counting 0 where the weight is 0. */
const expectation = (weights: Numbers, terms: Numbers): number =>
  sum(weights.map((w, v) => (w === 0 ? 0 : w * at(terms, v))));

/** KL(softmax(a) ‖ softmax(b)) per row. */
export const kl = (a: Numbers, b: Numbers, width: number): number[] =>
  rowsOf(a, width).map((row, n) => {
    const logb = logSoftmax(rowsOf(b, width)[n]!);
    return expectation(
      softmax(row),
      logSoftmax(row).map((v, i) => v - at(logb, i)),
    );
  });

/** −Σ_v p ln q per row. */
export const softCrossEntropy = (student: Numbers, teacher: Numbers, width: number): number[] =>
  rowsOf(teacher, width).map((row, n) => -expectation(softmax(row), logSoftmax(rowsOf(student, width)[n]!)));
