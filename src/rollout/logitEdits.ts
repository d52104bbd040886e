import { UsageError } from '../errors.js';
import { type LogitEdits, NEVER } from '../tensor/kernels.js';
import type { Slot } from './options.js';
import type { SamplingOptions } from './sampling.js';

type Edits = Pick<SamplingOptions, 'repetitionPenalty' | 'noRepeatNgram'>;

/**
 * What a repetition penalty and forbidden n-grams do to the logits of every row's next token, as `transformers`'
 * RepetitionPenaltyLogitsProcessor and NoRepeatNGramLogitsProcessor: prompt and response count, a token that occurs several
 * times is penalised once, and one that is forbidden stays so. A few ids a row, never whole rows.
 *
 * @param rows undefined where no token is drawn
 * @param vocab ids from here on are not drawn anyway and get no edit
 * @returns undefined where both are off
 * @throws UsageError when every token of a row is forbidden
 */
export function logitEdits(
  rows: readonly (Pick<Slot, 'prompt' | 'tokens'> | undefined)[],
  { repetitionPenalty = 1, noRepeatNgram = 0 }: Edits,
  vocab: number,
): LogitEdits | undefined {
  if (repetitionPenalty === 1 && noRepeatNgram === 0) return undefined;
  const starts = new Int32Array(rows.length + 1);
  const ids: number[] = [];
  const factors: number[] = [];
  for (const [b, slot] of rows.entries()) {
    if (slot) {
      const seen = [...Array.from(slot.prompt.ids), ...slot.tokens];
      const own = new Map<number, number>();
      if (repetitionPenalty !== 1) for (const id of seen) own.set(id, repetitionPenalty);
      if (noRepeatNgram > 0) for (const id of closingNgrams(seen, noRepeatNgram)) own.set(id, NEVER);
      let forbidden = 0;
      for (const [id, factor] of own) {
        if (id >= vocab) continue;
        ids.push(id);
        factors.push(factor);
        if (factor === NEVER) forbidden++;
      }
      if (forbidden === vocab)
        throw new UsageError(
          `no token is left to draw: after ${seen.length} tokens of prompt and response each of the ${vocab} repeats an n-gram of ${noRepeatNgram}; raise no_repeat_ngram, or shorten the responses`,
        );
    }
    starts[b + 1] = ids.length;
  }
  return { starts, ids: Int32Array.from(ids), factors: Float32Array.from(factors) };
}

/** The tokens that would make the last n − 1 tokens into an n-gram that is there already. */
function closingNgrams(ids: readonly number[], n: number): number[] {
  const last = ids.length - (n - 1);
  const closing: number[] = [];
  for (let at = 0; at + n <= ids.length; at++) {
    let same = 0;
    while (same < n - 1 && ids[at + same] === ids[last + same]) same++;
    if (same === n - 1) closing.push(ids[at + n - 1]!);
  }
  return closing;
}
