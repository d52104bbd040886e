/** Lower case, ASCII punctuation deleted (not replaced), runs of white space squeezed to one space, ends trimmed. */
export function normalizeAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/**
 * 100 if the response equals one of the references after `normalizeAnswer`, else 0 (the mean over prompts is a
 * percentage, as in MiniLLM's evaluation). Articles are kept, unlike in SQuAD's exact match.
 * @throws RangeError without a reference.
 */
export function exactMatch(prediction: string, references: readonly string[]): 0 | 100 {
  if (references.length === 0) throw new RangeError('exactMatch needs at least one reference');
  const answer = normalizeAnswer(prediction);
  return references.some((reference) => normalizeAnswer(reference) === answer) ? 100 : 0;
}
