/** A response as token ids or as words. */
export type Tokens = ArrayLike<number | string>;

/** Every n-gram of a token list in order, as a key that no other n-gram shares. Empty if the list is shorter than n. */
export function ngrams(tokens: Tokens, n: number): string[] {
  if (!Number.isInteger(n) || n < 1) throw new RangeError(`n-grams need a whole n of at least 1, got ${n}`);
  const list = Array.from(tokens);
  return Array.from({ length: Math.max(0, list.length - n + 1) }, (_, i) =>
    JSON.stringify(list.slice(i, i + n)),
  );
}
