import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { stopsAt } from '../../src/text/stopStrings.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';

const tokenizer = await loadTokenizer(
  fileURLToPath(new URL('../../experiments/wordnet/student', import.meta.url)),
);

/** How many tokens of a text a response keeps. */
function kept(ids: readonly number[], strings: readonly string[], decode = tokenizer.decode): number {
  const stop = stopsAt({ decode }, strings)!;
  const end = ids.findIndex((_, t) => stop(ids.slice(0, t + 1)));
  return end < 0 ? -1 : end + 1;
}

describe('stop strings', () => {
  const ids = tokenizer.encode('a kind of large cat\n\nthat runs', { addSpecial: false });

  it('end a response with the token that completes one, wherever tokens begin and end', () => {
    for (const stop of ['kind', 'of large', 'd of', '\n\n', '\nt', 'a', 'runs', 'cat\n']) {
      const length = kept(ids, [stop]);
      expect(tokenizer.decode(ids.slice(0, length)), stop).toContain(stop);
      expect(tokenizer.decode(ids.slice(0, length - 1)), stop).not.toContain(stop);
    }
    expect(kept(ids, ['dog', 'kinds'])).toBe(-1);
    expect(kept(ids, ['runs', 'of'])).toBe(kept(ids, ['of']));
  });

  it('the last token is whole, with what it has behind the string', () => {
    const texts = ['x', 'ab', 'cde', 'f'];
    const decode = (list: ArrayLike<number>): string => Array.from(list, (id) => texts[id]).join('');
    expect(kept([0, 1, 2, 3], ['bc'], decode)).toBe(3);
    expect(kept([0, 1, 2, 3], ['e'], decode)).toBe(3);
    expect(kept([1, 3, 0, 0, 2, 1, 2], ['bcd'], decode)).toBe(7);
  });

  it('a character of several tokens counts once it is whole; special tokens by their text', () => {
    const snow = tokenizer.encode('ab☃cd', { addSpecial: false });
    const length = kept(snow, ['☃']);
    expect(tokenizer.decode(snow.slice(0, length))).toBe('ab☃');
    const end = tokenizer.decode([tokenizer.eosId]);
    expect(kept([...ids.slice(0, 3), tokenizer.eosId], [end])).toBe(4);
  });

  it('none is none; an empty or endless one is refused', () => {
    expect(stopsAt(tokenizer, [])).toBeUndefined();
    expect(() => stopsAt(tokenizer, ['a', ''])).toThrow('a stop string is empty');
    expect(() => stopsAt(tokenizer, ['x'.repeat(201)])).toThrow('a stop string has 201 bytes');
  });
});
