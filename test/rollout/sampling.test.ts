import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { normal, stream } from '../../src/random/streams.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import { responseStream } from '../../src/rollout/uniforms.js';
import { initBackend } from '../../src/tensor/backend.js';
import { drawTokenReference, drawTokens } from '../../src/tensor/engines/portable/draw.js';
import { truncate } from '../../src/tensor/engines/portable/truncate.js';

await initBackend({ backend: 'cpu' });

/** Positive weights of very different size, as float32 holds them. */
function weights(vocab: number, name: string): number[] {
  const rng = stream(1, 'weights', name, vocab);
  return Array.from({ length: vocab }, () => Math.fround(Math.exp(1.5 * normal(rng))));
}

function draw(rows: number[][], uniforms: number[]): number[] {
  const probabilities = tf.tensor2d(rows);
  const before = tf.memory().numTensors;
  const tokens = Array.from(drawTokens(probabilities, uniforms));
  expect(tf.memory().numTensors).toBe(before);
  probabilities.dispose();
  return tokens;
}

describe('drawing by inversion of the cumulative distribution', () => {
  it.each([1, 2, 5, 63, 64, 65, 100, 130, 1000])('equals the slow reference, vocabulary %i', (vocab) => {
    const rng = stream(2, 'uniforms', vocab);
    const rows = Array.from({ length: 64 }, (_, b) =>
      weights(vocab, `row ${b}`).map((w, v) => (v > 0 && (v + b) % 3 === 0 ? 0 : w)),
    );
    const uniforms = rows.map(() => rng());
    const found = draw(rows, uniforms);
    let edges = 0;
    rows.forEach((row, b) => {
      // Within float32 rounding of a step of the CDF either neighbour is right.
      const total = row.reduce((sum, w) => sum + w, 0);
      let sum = 0;
      const steps = row.map((w) => (sum += w));
      const edge = steps.some((s) => Math.abs(s - uniforms[b]! * total) < 1e-6 * total);
      if (edge) edges++;
      else expect(found[b]).toBe(drawTokenReference(row, uniforms[b]!));
      expect(row[found[b]!]).toBeGreaterThan(0);
    });
    expect(edges).toBeLessThanOrEqual(3);
  });

  it('literal numbers: 0.1, 0, 0.4, 0.5', () => {
    const row = [0.1, 0, 0.4, 0.5];
    const uniforms = [0, 0.099, 0.101, 0.499, 0.501, 0.999999999];
    expect(
      draw(
        uniforms.map(() => row),
        uniforms,
      ),
    ).toEqual([0, 0, 2, 2, 3, 3]);
    expect(uniforms.map((u) => drawTokenReference(row, u))).toEqual([0, 0, 2, 2, 3, 3]);
  });

  it('the last uniform number below 1 gives the last token of positive weight, in any block', () => {
    const row = weights(200, 'tail').map((w, v) => (v > 70 ? 0 : w));
    expect(draw([row, row], [1 - 2 ** -53, 0])).toEqual([70, 0]);
  });

  it('a row need not be normalised', () => {
    const row = weights(100, 'scale');
    const scaled = row.map((w) => w * 1024);
    const uniforms = Array.from({ length: 20 }, (_, i) => (i + 0.5) / 20);
    const once = draw(
      uniforms.map(() => row),
      uniforms,
    );
    expect(
      draw(
        uniforms.map(() => scaled),
        uniforms,
      ),
    ).toEqual(once);
    expect(new Set(once).size).toBeGreaterThan(5);
  });

  it('no mass is an error, not token 0', () => {
    expect(() => draw([[0, 0, 0]], [0.5])).toThrow('a distribution without mass cannot be sampled');
  });

  describe('chi-square against the exact distribution', () => {
    it.each([
      [5, 4000],
      [64, 8000],
      [100, 8000],
      [4096, 20_000],
    ])('vocabulary %i, %i draws', (vocab, draws) => {
      const p = weights(vocab, 'chi');
      const rng = stream(3, 'chi', vocab);
      const counts = new Array<number>(vocab).fill(0);
      const batch = 200;
      const probabilities = tf.tile(tf.tensor2d([p]), [batch, 1]);
      for (let done = 0; done < draws; done += batch) {
        const uniforms = Array.from({ length: batch }, rng);
        for (const token of drawTokens(probabilities, uniforms)) counts[token]!++;
      }
      probabilities.dispose();
      expect(pValueZ(counts, p)).toBeLessThan(3.1); // p > 0.001; the seed makes it one fixed number
      // The same counts must speak against a distribution that is slightly another one.
      const tilted = p.map((w, v) => w * (v % 2 === 0 ? 1.5 : 1));
      expect(pValueZ(counts, tilted)).toBeGreaterThan(4);
    });
  });
});

/** The chi-square statistic as a standard normal deviate (Wilson and Hilferty 1931); rare tokens share a cell. */
function pValueZ(counts: readonly number[], weight: readonly number[]): number {
  const draws = counts.reduce((a, b) => a + b, 0);
  const total = weight.reduce((a, b) => a + b, 0);
  let [statistic, cells, count, expected] = [0, 0, 0, 0];
  weight.forEach((w, v) => {
    count += counts[v]!;
    expected += (draws * w) / total;
    // Even and odd tokens must not always be merged, so a cell ends as soon as it is large enough.
    if (expected < 5 && v < weight.length - 1) return;
    statistic += (count - expected) ** 2 / expected;
    cells++;
    [count, expected] = [0, 0];
  });
  const k = cells - 1;
  return ((statistic / k) ** (1 / 3) - (1 - 2 / (9 * k))) / Math.sqrt(2 / (9 * k));
}

describe('top-k and top-p', () => {
  const cut = (rows: number[][], options: { topK?: number; topP?: number; minP?: number }): number[][] => {
    const x = tf.tensor2d(rows);
    const before = tf.memory().numTensors;
    const y = truncate(x, { ...plainSampling, ...options });
    expect(tf.memory().numTensors).toBe(before + 1);
    const found = y.arraySync().map((row) => row.map((v) => Math.round(v * 1e6) / 1e6));
    tf.dispose([x, y]);
    return found;
  };
  const row = [0.1, 0.4, 0.2, 0.3];

  it('off, they keep everything', () => {
    expect(cut([row], {})).toEqual([row]);
    expect(cut([row], { topK: 4 })).toEqual([row]);
    expect(cut([row], { topK: 9 })).toEqual([row]);
  });

  it('top-k keeps the k largest, the lower id among equals', () => {
    expect(cut([row], { topK: 1 })).toEqual([[0, 0.4, 0, 0]]);
    expect(cut([row], { topK: 2 })).toEqual([[0, 0.4, 0, 0.3]]);
    expect(cut([[0.2, 0.3, 0.3, 0.2]], { topK: 3 })).toEqual([[0.2, 0.3, 0.3, 0]]);
  });

  it('top-p keeps the smallest set whose mass reaches p, the first token always', () => {
    expect(cut([row], { topP: 0.05 })).toEqual([[0, 0.4, 0, 0]]);
    expect(cut([row], { topP: 0.39 })).toEqual([[0, 0.4, 0, 0]]);
    expect(cut([row], { topP: 0.41 })).toEqual([[0, 0.4, 0, 0.3]]);
    expect(cut([row], { topP: 0.71 })).toEqual([[0, 0.4, 0.2, 0.3]]);
    expect(cut([row], { topP: 0.95 })).toEqual([row]);
  });

  it('top-k first, then the nucleus of what is left: 0.4 + 0.3 of 0.7, not of 1', () => {
    expect(cut([row], { topK: 2, topP: 0.5 })).toEqual([[0, 0.4, 0, 0]]);
    expect(cut([row], { topK: 2, topP: 0.58 })).toEqual([[0, 0.4, 0, 0.3]]);
  });

  it('min-p keeps what is at least the share of the likeliest as probable, equals too', () => {
    expect(cut([row], { minP: 0.25 })).toEqual([row]);
    expect(cut([row], { minP: 0.26 })).toEqual([[0, 0.4, 0.2, 0.3]]);
    expect(cut([[0.25, 0.5, 0.125, 0.125]], { minP: 0.5 })).toEqual([[0.25, 0.5, 0, 0]]);
    expect(cut([row], { minP: 0.9 })).toEqual([[0, 0.4, 0, 0]]);
    expect(cut([row], { topK: 3, topP: 0.9, minP: 0.6 })).toEqual([[0, 0.4, 0, 0.3]]);
  });

  it.each([
    { topK: 1 },
    { topK: 37 },
    { topP: 1e-9 },
    { topP: 0.3 },
    { topP: 0.9 },
    { topP: 0.999 },
    { topK: 300, topP: 0.95 },
    { minP: 0.01 },
    { topK: 700, topP: 0.97, minP: 0.001 },
  ])('%o keeps what sorting whole rows keeps, among ties and zeros too', (options) => {
    const spread = weights(1000, 'spread');
    const rows = [
      spread,
      spread.map((w) => Math.ceil(4 * w) / 64),
      spread.map(() => 0.25),
      spread.map((w, v) => (v % 3 ? 0 : w * 1e-30)),
      spread.map((w, v) => (v === 700 ? 1 : w * 1e-12)),
    ];
    const x = tf.tensor2d(rows);
    const y = truncate(x, { ...plainSampling, ...options });
    expect(y.arraySync()).toEqual(x.arraySync().map((row) => sortedCut(row, options)));
    tf.dispose([x, y]);
  });

  it('each row by itself', () => {
    expect(cut([row, [0.7, 0.1, 0.1, 0.1]], { topP: 0.65 })).toEqual([
      [0, 0.4, 0, 0.3],
      [0.7, 0, 0, 0],
    ]);
  });
});

/** The slow, obvious twin of `truncate` on one row. */
function sortedCut(
  row: number[],
  { topK = 0, topP = 1, minP = 0 }: { topK?: number; topP?: number; minP?: number },
): number[] {
  const order = row.map((_, v) => v).sort((i, j) => row[j]! - row[i]! || i - j);
  const candidates = order.slice(0, topK || undefined).filter((v) => row[v]! > 0);
  const mass = candidates.reduce((sum, v) => sum + row[v]!, 0);
  const kept = row.map(() => 0);
  let before = 0;
  for (const v of candidates) {
    if (before > 0 && before >= topP * mass) break;
    kept[v] = row[v]!;
    before += row[v]!;
  }
  const least = Math.fround(Math.fround(minP) * Math.max(...kept));
  return kept.map((x) => (x >= least ? x : 0));
}

describe('the random stream of a response', () => {
  it('is named by seed, round, prompt and sample, and by nothing else', () => {
    const first = (seed: number, round: number, prompt: number, sample: number): number =>
      responseStream('independent', { seed, round, promptIndex: prompt, sample, samples: 2 }).rng();
    expect(
      responseStream('independent', { seed: 7, round: 2, promptIndex: 5, sample: 1, samples: 2 }).key,
    ).toBe('7/rollout/2/5/1');
    expect(first(7, 2, 5, 1)).toBe(first(7, 2, 5, 1));
    const others = [
      first(7, 2, 5, 1),
      first(8, 2, 5, 1),
      first(7, 3, 5, 1),
      first(7, 2, 6, 1),
      first(7, 2, 5, 2),
    ];
    expect(new Set(others).size).toBe(5);
  });
});
