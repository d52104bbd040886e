import { UsageError } from '../errors.js';
import type { Tokenizer } from './tokenizer.js';

/** Longer ones would make the window that is decoded after every token long. */
const LONGEST = 200;

/**
 * Whether a response ends with its last token because one of these strings is complete, asked token by token: as the
 * `stop_strings` of `transformers`, the token that completes a string is the last one and is kept whole, with what it may have
 * behind the string. A string counts in the response alone; `transformers` also counts one that begins in the prompt. Special
 * tokens count by the text that they are written with.
 *
 * @returns undefined without strings
 * @throws UsageError for an empty or overlong string
 */
export function stopsAt(
  { decode }: Pick<Tokenizer, 'decode'>,
  strings: readonly string[],
): ((responseIds: readonly number[]) => boolean) | undefined {
  if (strings.length === 0) return undefined;
  const bytes = strings.map((text) => Buffer.byteLength(text));
  if (bytes.includes(0)) throw new UsageError('a stop string is empty; expected one character or more');
  const longest = Math.max(...bytes);
  if (longest > LONGEST)
    throw new UsageError(`a stop string has ${longest} bytes; expected at most ${LONGEST}`);
  // A token has a byte or more. The one in front is there because decoders trim the first space of a text.
  const window = longest + 1;
  return (ids) => {
    const text = decode(ids.slice(-window), { skipSpecial: false });
    return strings.some((stop) => text.includes(stop));
  };
}
