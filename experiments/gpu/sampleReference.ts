import { type LogitEdits, NEVER, type SampleSettings } from '../../src/tensor/kernels.js';
import { dot, logSoftmax, type Numbers, sum } from './references.js';

/** How far float32's running sums may be from the true ones, as a share of the mass. */
const SLACK = 1e-4;

/**
 * What `sample` should have recorded, in float64. A token is right when the uniform lies in its share of the distribution, give or take rounding; the
 * record is then that of the token that was drawn, and otherwise NaN.
 */
export function checkDraw(
  records: Float32Array,
  student: Numbers,
  teacher: Numbers | undefined,
  uniforms: readonly number[],
  settings: SampleSettings,
  columns: number,
  edits?: LogitEdits,
): Float64Array {
  const rows = uniforms.length;
  const { temperature, alpha, greedy, vocab } = settings;
  const row = (x: Numbers, n: number, by: number): Float64Array =>
    Float64Array.from({ length: vocab }, (_, v) => x[n * columns + v]! / by);
  const expected = new Float64Array(7 * rows);
  for (let n = 0; n < rows; n++) {
    const hot = greedy ? 1 : temperature;
    const logq = logSoftmax(row(student, n, hot));
    const q = logq.map(Math.exp);
    const logp = teacher && logSoftmax(row(teacher, n, 1));
    const p = teacher && logSoftmax(row(teacher, n, hot)).map(Math.exp);
    const shown = edits
      ? logSoftmax(edited(row(student, n, 1), edits, n).map((x) => x / hot)).map(Math.exp)
      : q;
    const taught =
      edits && teacher
        ? logSoftmax(edited(row(teacher, n, 1), edits, n).map((x) => x / hot)).map(Math.exp)
        : p;
    const mixture = taught && alpha > 0 ? shown.map((x, v) => (1 - alpha) * x + alpha * taught[v]!) : shown;
    const token = records[n]!;
    const { fits, drawn } = greedy
      ? { fits: mixture.every((x) => x <= mixture[token]! * (1 + SLACK)), drawn: 0 }
      : fitsDraw(mixture, token, uniforms[n]!, settings);
    const entropy = -dot(q, logq);
    const numbers = [
      ...[fits ? token : Number.NaN, logq[token]!, entropy, drawn],
      ...[logp ? logp[token]! : 0, logp ? -entropy - dot(q, logp) : 0, dot(q, q)],
    ];
    numbers.forEach((x, i) => {
      expected[i * rows + n] = x;
    });
  }
  return expected;
}

/** A row of logits with its edits. */
function edited(logits: Float64Array, { starts, ids, factors }: LogitEdits, row: number): Float64Array {
  for (let i = starts[row]!; i < starts[row + 1]!; i++) {
    const [x, factor] = [logits[ids[i]!]!, factors[i]!];
    logits[ids[i]!] = factor === NEVER ? Number.NEGATIVE_INFINITY : x > 0 ? x / factor : x * factor;
  }
  return logits;
}

/** Whether the uniform falls to the token in what top-k, top-p and min-p leave, and the log of its share there. */
function fitsDraw(mixture: Float64Array, token: number, uniform: number, settings: SampleSettings) {
  const { topK, topP, minP } = settings;
  const order = Array.from(mixture.keys()).sort((a, b) => mixture[b]! - mixture[a]! || a - b);
  const best = topK > 0 ? order.slice(0, topK) : order;
  const mass = sum(best.map((v) => mixture[v]!));
  const kept = new Float64Array(mixture.length);
  let before = 0;
  for (const v of best) {
    if (before >= topP * mass) break;
    kept[v] = mixture[v]!;
    before += mixture[v]!;
  }
  const least = minP * kept.reduce((most, x) => Math.max(most, x), 0);
  kept.forEach((x, v) => {
    if (x >= least) return;
    before -= x;
    kept[v] = 0;
  });
  const below = sum(kept.subarray(0, token)) / before;
  const share = kept[token]! / before;
  const fits = uniform >= below - SLACK && uniform <= below + share + SLACK && share > 0;
  return { fits, drawn: Math.log(share) };
}
