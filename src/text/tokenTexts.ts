import type { Tokenizer } from './tokenizer.js';

/** A character of UTF-8 has at most four bytes. */
const mostBytes = 4;
/** Tokens decoded in front of a token, so that a decoder that trims the first space of a text trims theirs. */
const contextLength = 8;
const broken = '\uFFFD';

/**
 * The text of each token where it stands: put together they are the text. A leading space is kept (of SentencePiece tokens
 * too, whose decoder drops it from a token by itself), and of tokens that are parts of one character the last has it, the
 * others ''. Bytes that make no character are U+FFFD.
 *
 * @param before the tokens in front, such as the prompt's
 */
export function tokenTexts(
  { decode }: Pick<Tokenizer, 'decode'>,
  ids: ArrayLike<number>,
  before: ArrayLike<number> = [],
): string[] {
  const all = [...Array.from(before).slice(-contextLength), ...Array.from(ids)];
  const first = all.length - ids.length;
  const piece = (from: number, to: number): string => {
    const context = all.slice(Math.max(0, from - contextLength), from);
    const [head, whole] = [decode(context), decode([...context, ...all.slice(from, to)])];
    return whole.startsWith(head) ? whole.slice(head.length) : decode(all.slice(from, to));
  };
  const texts: string[] = [];
  for (let at = first; at < all.length; ) {
    let size = 1;
    while (size <= mostBytes && at + size <= all.length && piece(at, at + size).includes(broken)) size++;
    if (size > mostBytes || at + size > all.length) size = 1;
    texts.push(...new Array<string>(size - 1).fill(''), piece(at, at + size));
    at += size;
  }
  return texts;
}

/** Whether a token is a part of a character that a later one completes, and not one without text. */
export function isPart(texts: readonly string[], i: number): boolean {
  return texts[i] === '' && texts.slice(i + 1, i + mostBytes).some((text) => text !== '');
}
