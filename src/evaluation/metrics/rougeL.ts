import { porterStem } from './porterStemmer.js';

/**
 * The words that Rouge compares: lower case, everything but a-z and 0-9 is a separator, words of more than three
 * characters are stemmed. Text in other scripts therefore has no words, as in the public rouge_score package.
 */
export function rougeTokens(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return words.map((word) => (word.length > 3 ? porterStem(word) : word));
}

/** Length of the longest common subsequence of two lists. Time |a|·|b|, memory |b|. */
export function lcsLength(a: readonly string[], b: readonly string[]): number {
  let previous = new Int32Array(b.length + 1);
  let current = new Int32Array(b.length + 1);
  for (const token of a) {
    for (let j = 1; j <= b.length; j++) {
      current[j] = token === b[j - 1] ? previous[j - 1]! + 1 : Math.max(previous[j]!, current[j - 1]!);
    }
    [previous, current] = [current, previous];
  }
  return previous[b.length]!;
}

/** Rouge-L F1 of two token lists in [0, 1]: with c = LCS, P = c/|b|, R = c/|a|, F = 2PR/(P+R); 0 if a list is empty. */
export function rougeLOfTokens(reference: readonly string[], prediction: readonly string[]): number {
  if (reference.length === 0 || prediction.length === 0) return 0;
  const common = lcsLength(reference, prediction);
  const precision = common / prediction.length;
  const recall = common / reference.length;
  return common === 0 ? 0 : (2 * precision * recall) / (precision + recall);
}

/**
 * Rouge-L of a response, 0 to 100: the best F1 over the references, times 100.
 *
 * Source: Lin, "ROUGE: a package for automatic evaluation of summaries", 2004, section 3.1 (sentence level, beta = 1).
 * Equal to rouge_score's `rougeL` F-measure with use_stemmer=True (and `score_multi` for several references).
 * @throws RangeError without a reference: an average over unanswerable prompts would hide them.
 */
export function rougeL(prediction: string, references: readonly string[]): number {
  if (references.length === 0) throw new RangeError('rougeL needs at least one reference');
  const words = rougeTokens(prediction);
  return 100 * Math.max(...references.map((reference) => rougeLOfTokens(rougeTokens(reference), words)));
}
