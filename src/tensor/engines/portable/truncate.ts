import * as tf from '@tensorflow/tfjs-core';
import type { SampleSettings } from '../../kernels.js';

/**
 * Zeroes what top-k, top-p and min-p leave out, row by row; the caller's inversion renormalises. Top-k first, then the
 * nucleus of what is left, then what is below the share of the largest, as in Hugging Face's warpers; ties at the edge of the
 * first two are broken by the lower token id.
 *
 * No row is sorted as a whole: tokens fall into buckets by exponent and three bits of the fraction, whole buckets are
 * taken from the top, and only the bucket in which the last kept token lies is sorted.
 *
 * @param probabilities [B, V], non-negative
 */
export function truncate(
  probabilities: tf.Tensor2D,
  { topK, topP, minP = 0 }: Pick<SampleSettings, 'topK' | 'topP'> & { minP?: number },
): tf.Tensor2D {
  const [batch, vocab] = probabilities.shape;
  const count = topK > 0 ? Math.min(topK, vocab) : vocab;
  const cut = count < vocab || topP < 1;
  if (!cut && minP === 0) return probabilities.clone();
  const data = probabilities.dataSync<'float32'>();
  const out = new Float32Array(data.length);
  const buckets = { counts: new Int32Array(BUCKETS), masses: new Float64Array(BUCKETS) };
  for (let b = 0; b < batch; b++) {
    const row = data.subarray(b * vocab, (b + 1) * vocab);
    const bits = new Uint32Array(row.buffer, row.byteOffset, vocab);
    let edge: Edge = { value: 0, id: vocab, mass: 0 };
    if (cut) {
      fill(buckets, row, bits);
      edge = edgeOf(row, bits, buckets, count, Number.POSITIVE_INFINITY);
      if (topP < 1) edge = edgeOf(row, bits, buckets, count, topP * edge.mass);
    }
    const least = leastShare(row, minP);
    for (let v = 0; v < vocab; v++) {
      const p = row[v]!;
      if (p >= least && (p > edge.value || (p === edge.value && v <= edge.id))) out[b * vocab + v] = p;
    }
  }
  return tf.tensor2d(out, [batch, vocab]);
}

/** The probability below which min-p lets nothing stay, rounded as the other engines do. */
function leastShare(row: Float32Array, minP: number): number {
  if (minP === 0) return 0;
  let top = 0;
  for (let v = 0; v < row.length; v++) top = Math.max(top, row[v]!);
  return Math.fround(Math.fround(minP) * top);
}

/** Bits of a float32 below its bucket. The bits of positive numbers order as the numbers do. */
const SHIFT = 20;
const BUCKETS = 2 ** (31 - SHIFT);

interface Buckets {
  counts: Int32Array;
  masses: Float64Array;
}

function fill({ counts, masses }: Buckets, row: Float32Array, bits: Uint32Array): void {
  counts.fill(0);
  masses.fill(0);
  for (let v = 0; v < row.length; v++) {
    if (!(row[v]! > 0)) continue;
    const bucket = bits[v]! >>> SHIFT;
    counts[bucket]!++;
    masses[bucket]! += row[v]!;
  }
}

/** The last token that stays, in falling order of probability; and the mass up to there. */
interface Edge {
  value: number;
  id: number;
  mass: number;
}

/** A token stays while fewer than `count` tokens, and less than `goal` of mass, are before it; the first always stays. */
function edgeOf(
  row: Float32Array,
  bits: Uint32Array,
  { counts, masses }: Buckets,
  count: number,
  goal: number,
): Edge {
  let edge: Edge = { value: Number.POSITIVE_INFINITY, id: row.length, mass: 0 };
  let kept = 0;
  let bucket = BUCKETS - 1;
  for (; bucket >= 0; bucket--) {
    if (counts[bucket] === 0) continue;
    if (kept + counts[bucket]! > count || edge.mass + masses[bucket]! >= goal) break;
    kept += counts[bucket]!;
    edge = { value: leastOf(bucket), id: row.length, mass: edge.mass + masses[bucket]! };
  }
  const inside: number[] = [];
  for (let v = 0; v < row.length; v++) if (row[v]! > 0 && bits[v]! >>> SHIFT === bucket) inside.push(v);
  inside.sort((i, j) => row[j]! - row[i]! || i - j);
  for (const v of inside) {
    if (kept >= count || (kept > 0 && edge.mass >= goal)) break;
    edge = { value: row[v]!, id: v, mass: edge.mass + row[v]! };
    kept++;
  }
  return edge;
}

function leastOf(bucket: number): number {
  return new Float32Array(Uint32Array.of(bucket << SHIFT).buffer)[0]!;
}
