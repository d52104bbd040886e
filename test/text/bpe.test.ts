import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { integer, stream } from '../../src/random/streams.js';
import { type Bpe, byteAlphabet, PreTokenCounts, trainBpe } from '../../src/text/bpe.js';

const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/text/encodings.json', import.meta.url), 'utf8'),
) as { trained: { text: string; vocab: string[]; merges: [string, string][] } };

function count(text: string): Map<string, number> {
  const words = new PreTokenCounts();
  words.add(text);
  return words.counts;
}

/** The definition, without any bookkeeping: count all pairs anew for every merge. */
function slowTrain(words: ReadonlyMap<string, number>, vocabSize: number, specialTokens: string[]): Bpe {
  const alphabet = byteAlphabet();
  const vocab = [...specialTokens, ...[...alphabet].sort()];
  let split = [...words].map(([word, n]) => ({
    n,
    tokens: Array.from(Buffer.from(word), (b) => alphabet[b]!),
  }));
  const merges: [string, string][] = [];
  while (vocab.length < vocabSize) {
    const counts = new Map<string, { pair: [string, string]; n: number }>();
    for (const { n, tokens } of split)
      for (let i = 0; i + 1 < tokens.length; i++) {
        const pair: [string, string] = [tokens[i]!, tokens[i + 1]!];
        const entry = counts.get(JSON.stringify(pair)) ?? { pair, n: 0 };
        entry.n += n;
        counts.set(JSON.stringify(pair), entry);
      }
    const rank = (token: string) => vocab.indexOf(token);
    const [best] = [...counts.values()].sort(
      (a, b) => b.n - a.n || rank(a.pair[0]) - rank(b.pair[0]) || rank(a.pair[1]) - rank(b.pair[1]),
    );
    if (best === undefined) break;
    const [left, right] = best.pair;
    merges.push(best.pair);
    if (!vocab.includes(left + right)) vocab.push(left + right);
    split = split.map(({ n, tokens }) => {
      const out: string[] = [];
      for (const token of tokens) {
        if (out.at(-1) === left && token === right) out[out.length - 1] = left + right;
        else out.push(token);
      }
      return { n, tokens: out };
    });
  }
  return { vocab, merges };
}

describe('byteAlphabet', () => {
  it('is GPT-2’s: printing Latin-1 as itself, the rest from U+0100 on', () => {
    const alphabet = byteAlphabet();
    expect(new Set(alphabet).size).toBe(256);
    expect([0x20, 0x0a, 0x00, 0x41, 0xa0, 0xad, 0xff].map((byte) => alphabet[byte])).toEqual([
      'Ġ',
      'Ċ',
      'Ā',
      'A',
      'ł',
      'Ń',
      'ÿ',
    ]);
  });
});

describe('PreTokenCounts', () => {
  it('splits like GPT-2: words with their space, contractions, numbers, signs, runs of space', () => {
    expect([...count("We'll  see 12 cats.\n\nWe'll!")]).toEqual([
      ['We', 2],
      ["'ll", 2],
      [' ', 1],
      [' see', 1],
      [' 12', 1],
      [' cats', 1],
      ['.', 1],
      ['\n', 2],
      ['!', 1],
    ]);
  });
});

describe('trainBpe', () => {
  it('merges the most frequent pair first, ties by the smaller ids', () => {
    // low ×5, lower ×2, newest ×6, widest ×3 (Sennrich et al., algorithm 1). e,s and s,t both stand 9 times; e < s.
    const words = new Map([
      ['low', 5],
      ['lower', 2],
      ['newest', 6],
      ['widest', 3],
    ]);
    const { merges, vocab } = trainBpe(words, 257 + 6, ['<|endoftext|>']);
    expect(merges.map((pair) => pair.join('+'))).toEqual(['e+s', 'es+t', 'l+o', 'lo+w', 'e+w', 'n+ew']);
    expect(vocab.slice(0, 3)).toEqual(['<|endoftext|>', '!', '"']);
    expect(vocab.slice(257)).toEqual(['es', 'est', 'lo', 'low', 'ew', 'new']);
  });

  it('learns exactly what Hugging Face’s trainer learns (fixture made in Python)', () => {
    const { text, vocab, merges } = fixture.trained;
    expect(trainBpe(count(text), 360, ['<|endoftext|>'])).toEqual({ vocab, merges });
  });

  it.each([1, 2, 3, 4, 5])(
    'agrees with recounting everything, on random words over two letters (seed %i)',
    (seed) => {
      const rng = stream(seed, 'bpe-test');
      const words = new Map<string, number>();
      for (let i = 0; i < 40; i++)
        words.set(
          Array.from({ length: 1 + integer(rng, 12) }, () => 'ab'[integer(rng, 2)]).join(''),
          1 + integer(rng, 5),
        );
      expect(trainBpe(words, 257 + 60, ['<|endoftext|>'])).toEqual(
        slowTrain(words, 257 + 60, ['<|endoftext|>']),
      );
    },
  );

  it('stops when every word is one token', () => {
    const { vocab, merges } = trainBpe(new Map([['abc', 1]]), 1000, ['<|endoftext|>']);
    expect(merges).toEqual([
      ['a', 'b'],
      ['ab', 'c'],
    ]);
    expect(vocab.length).toBe(259);
  });

  it('refuses a vocabulary without room for the bytes, and an empty text', () => {
    expect(() => trainBpe(new Map([['a', 1]]), 256, ['<|endoftext|>'])).toThrow(UsageError);
    expect(() => trainBpe(new Map([['a', 1]]), 256, ['<|endoftext|>'])).toThrow('from 257');
    expect(() => trainBpe(new Map(), 300, ['<|endoftext|>'])).toThrow('no text');
  });
});
