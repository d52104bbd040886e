import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { normal, stream } from '../../src/random/streams.js';
import { logitEdits } from '../../src/rollout/logitEdits.js';
import { nextTokens } from '../../src/rollout/nextToken.js';
import { plainSampling, type SamplingOptions } from '../../src/rollout/sampling.js';
import { drawnFrom } from './sampling.reference.js';

const cases: [string, Partial<SamplingOptions>][] = [
  ['plain', {}],
  ['temperature 0.7', { temperature: 0.7 }],
  ['top-k 4', { topK: 4 }],
  ['top-p 0.8', { topP: 0.8 }],
  ['top-k 20, top-p 0.9, temperature 1.3', { topK: 20, topP: 0.9, temperature: 1.3 }],
  [
    'a penalty of 1.5, no token pair twice, min-p 0.02',
    { repetitionPenalty: 1.5, noRepeatNgram: 2, minP: 0.02 },
  ],
];

/** What stands in front of the token that is drawn: 3 may not follow 1 again, and five tokens are penalised. */
const seen = [1, 3, 4, 2, 1];

/**
 * Pearson's test of the sampler against the exact distribution, computed in float64; `initBackend` must have run.
 *
 * @param sizes vocabularies and how many tokens to draw from each
 */
export function chiSquareSuite(sizes: readonly (readonly [vocab: number, draws: number])[]): void {
  describe.each(sizes)('a vocabulary of %i', (vocab, draws) => {
    const rng = stream(11, 'chi-square', vocab);
    const logits = Float32Array.from({ length: vocab }, () => 2 * normal(rng));

    it.each(cases)('%s', (name, options) => {
      const all = { ...plainSampling, ...options };
      const counts = new Map<number, number>();
      for (const token of drawMany(logits, all, draws, name)) counts.set(token, (counts.get(token) ?? 0) + 1);
      const exact = drawnFrom(Array.from(logits), undefined, seen, all);
      for (const token of counts.keys()) expect(exact[token], `token ${token}`).toBeGreaterThan(0);
      const { statistic, freedom } = chiSquare(exact, counts, draws);
      expect(statistic).toBeLessThan(critical(freedom));
    });

    it('a mixture with a teacher', () => {
      const teacher = Float32Array.from(logits, (_, v) => logits[vocab - 1 - v]!);
      const counts = new Map<number, number>();
      for (const token of drawMany(logits, plainSampling, draws, 'mixed', teacher))
        counts.set(token, (counts.get(token) ?? 0) + 1);
      const both = { logits: Array.from(teacher), alpha: 0.3 };
      const exact = drawnFrom(Array.from(logits), both, seen, plainSampling);
      const { statistic, freedom } = chiSquare(exact, counts, draws);
      expect(statistic).toBeLessThan(critical(freedom));
    });
  });
}

function drawMany(
  logits: Float32Array,
  options: SamplingOptions,
  draws: number,
  address: string,
  teacher?: Float32Array,
): number[] {
  const batch = Math.min(draws, 100);
  const rng = stream(12, 'chi-square', logits.length, address);
  const repeat = (x: Float32Array) =>
    tf.tidy(() => tf.tile(tf.tensor2d(x, [1, x.length]), [batch, 1]) as tf.Tensor2D);
  const rows = repeat(logits);
  const mixed = teacher && { logits: repeat(teacher), alpha: 0.3 };
  const slots = Array.from({ length: batch }, () => ({ prompt: { index: 0, ids: [] }, tokens: [...seen] }));
  const edits = logitEdits(slots, options, logits.length);
  const tokens: number[] = [];
  while (tokens.length < draws) {
    const uniforms = Array.from({ length: batch }, () => rng());
    tokens.push(...nextTokens(rows, mixed, uniforms, options, logits.length, edits).tokens);
  }
  tf.dispose([rows, ...(mixed ? [mixed.logits] : [])]);
  return tokens;
}

/** Σ (observed − expected)² / expected over bins of at least 5 expected draws; rare tokens share a bin. */
function chiSquare(exact: number[], counts: Map<number, number>, draws: number) {
  const order = exact.map((_, v) => v).filter((v) => exact[v]! > 0);
  order.sort((a, b) => exact[b]! - exact[a]!);
  let statistic = 0;
  let bins = 0;
  let [expected, observed] = [0, 0];
  let left = 1;
  for (const v of order) {
    expected += draws * exact[v]!;
    observed += counts.get(v) ?? 0;
    left -= exact[v]!;
    // The last bin takes all that would not fill another.
    if (expected < 5 || (draws * left < 5 && v !== order.at(-1))) continue;
    statistic += (observed - expected) ** 2 / expected;
    bins++;
    [expected, observed] = [0, 0];
  }
  return { statistic, freedom: bins - 1 };
}

/** The 0.9999 quantile of the chi-square distribution (Wilson and Hilferty 1931). The seeds are fixed: it cannot flicker. */
function critical(freedom: number): number {
  if (freedom === 0) return 1e-9;
  const spread = 2 / (9 * freedom);
  return freedom * (1 - spread + 3.719 * Math.sqrt(spread)) ** 3;
}
