import { tokenSpan } from '../data/padding.js';
import type { Model } from '../models/model.js';
import { type ScoreOptions, scoreTokens } from './score.js';

/** A batch as `transformers` pads it, on the left or on the right. */
export interface PaddedBatch {
  /** [B] rows of [T] token ids. */
  inputIds: readonly ArrayLike<number>[];
  /** [B] rows of [T]: 1 under a token, 0 under padding; the ones of a row stand together. */
  attentionMask: readonly ArrayLike<number>[];
}

/**
 * Log-probabilities of a padded batch: result[b][t] = ln p(ids[t+1] | the tokens before it), NaN where either of the two is
 * padding. Padding takes no part and positions count from a row's first token (`position_ids = cumsum(mask) − 1` of
 * `transformers`), so every row gets what it gets alone. No gradient.
 *
 * @throws UsageError if ids and mask differ in shape, or the ones of a mask do not stand together
 */
export function scorePadded(model: Model, batch: PaddedBatch, options: ScoreOptions = {}): Float32Array[] {
  const spans = batch.inputIds.map((ids, row) =>
    tokenSpan(batch.attentionMask[row] ?? [], ids.length, `row ${row}`),
  );
  const bare = batch.inputIds.map((ids, row) => Int32Array.from(ids).slice(...spans[row]!));
  return scoreTokens(model, bare, options).map((logprobs, row) => {
    const padded = new Float32Array(Math.max(0, batch.inputIds[row]!.length - 1)).fill(Number.NaN);
    padded.set(logprobs, spans[row]![0]);
    return padded;
  });
}
