import type { SamplingOptions } from '../../src/rollout/sampling.js';
import { logSoftmax } from '../helpers/referenceModel.js';

/** The logits that a penalty and forbidden n-grams leave after some tokens: the definitions, one token at a time. */
export function penalised(
  logits: readonly number[],
  seen: readonly number[],
  { repetitionPenalty = 1, noRepeatNgram: n = 0 }: Partial<SamplingOptions>,
): number[] {
  return logits.map((x, v) => {
    const wanted = n > 0 ? [...seen, v].slice(-n).join() : undefined;
    for (let at = 0; n > 0 && at + n <= seen.length; at++)
      if (seen.slice(at, at + n).join() === wanted) return Number.NEGATIVE_INFINITY;
    if (!seen.includes(v)) return x;
    return x > 0 ? x / repetitionPenalty : x * repetitionPenalty;
  });
}

/** What a token is drawn from, in float64: the order of `SamplingOptions`, whole rows sorted. */
export function drawnFrom(
  student: readonly number[],
  teacher: { logits: readonly number[]; alpha: number } | undefined,
  seen: readonly number[],
  options: SamplingOptions,
): number[] {
  const { temperature, topK, topP, minP = 0 } = options;
  const probabilities = (logits: readonly number[]): number[] =>
    logSoftmax(penalised(logits, seen, options).map((x) => x / temperature)).map(Math.exp);
  const q = probabilities(student);
  const p = teacher && probabilities(teacher.logits);
  const mixture = p ? q.map((x, v) => (1 - teacher.alpha) * x + teacher.alpha * p[v]!) : q;
  const order = mixture.map((_, v) => v).sort((a, b) => mixture[b]! - mixture[a]! || a - b);
  const candidates = order.slice(0, topK || undefined);
  const mass = candidates.reduce((sum, v) => sum + mixture[v]!, 0);
  const kept = mixture.map(() => 0);
  let before = 0;
  for (const v of candidates) {
    if (before >= topP * mass) break;
    kept[v] = mixture[v]!;
    before += mixture[v]!;
  }
  const least = minP * Math.max(...kept);
  const left = kept.map((x) => (x >= least ? x : 0));
  const whole = left.reduce((sum, x) => sum + x, 0);
  return left.map((x) => x / whole);
}
