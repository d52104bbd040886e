import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PreTokenCounts, trainBpe } from '../../src/text/bpe.js';
import { loadTokenizer, type Tokenizer } from '../../src/text/tokenizer.js';
import { endOfText, saveTokenizer } from '../../src/text/tokenizer-files.js';
import { isPart, tokenTexts } from '../../src/text/tokenTexts.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-token-texts-'));
afterAll(() => rmSync(root, { recursive: true }));

/** Pieces as SentencePiece has them: a space is ▁, what has no piece is bytes; decoding drops the first space. */
function llamaLike(): Record<string, unknown> {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const pieces = ['<unk>', '<s>', '</s>', ...bytes, '▁the', '▁cat', 's', '▁', 'a', '.'];
  return {
    ...{ normalizer: null, pre_tokenizer: null, post_processor: null },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [],
    },
    added_tokens: [0, 1, 2].map((id) => ({ id, content: pieces[id], special: true })),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
  };
}

describe('the texts of tokens, of a byte-level vocabulary', () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    const words = new PreTokenCounts();
    words.add('the cat sat on the mat');
    await saveTokenizer(path.join(root, 'bytes'), trainBpe(words.counts, 270, [endOfText]));
    tokenizer = await loadTokenizer(path.join(root, 'bytes'));
  });

  it.each(['the cat', ' 😀 the cat é漢字 👩‍👧', 'naïve', ''])('put together they are %j', (text) => {
    const ids = tokenizer.encode(text);
    const texts = tokenTexts(tokenizer, ids);
    expect(texts).toHaveLength(ids.length);
    expect(texts.join('')).toBe(text);
  });

  it('gives a character of several tokens to its last, bytes that make none as they are', () => {
    const emoji = tokenizer.encode('😀');
    expect(emoji).toHaveLength(4);
    expect(tokenTexts(tokenizer, emoji)).toEqual(['', '', '', '😀']);
    const end = tokenizer.eosId;
    const texts = tokenTexts(tokenizer, [emoji[0]!, ...tokenizer.encode(' the'), emoji[1]!, end, emoji[0]!]);
    expect(texts.filter((text) => text === '\uFFFD')).toHaveLength(3);
    expect(texts.join('')).toBe('\uFFFD the\uFFFD<|endoftext|>\uFFFD');
    expect([0, 1, 2, 3].map((i) => isPart(['', '', '😀', ''], i))).toEqual([true, true, false, false]);
  });
});

describe('the texts of tokens, of a SentencePiece vocabulary', () => {
  let tokenizer: Tokenizer;
  const id = (token: string): number =>
    (llamaLike().model as { vocab: Record<string, number> }).vocab[token]!;
  beforeAll(async () => {
    writeFileSync(path.join(root, 'tokenizer.json'), JSON.stringify(llamaLike()));
    writeFileSync(path.join(root, 'tokenizer_config.json'), '{"eos_token":"</s>","bos_token":"<s>"}');
    tokenizer = await loadTokenizer(root);
  });

  it('keeps the spaces that its decoder drops', () => {
    const ids = ['▁the', '▁cat', 's', '▁', 'a', '</s>'].map(id);
    expect(tokenizer.decode([id('▁cat')])).toBe('cat'); // what a token by itself would be shown as
    expect(tokenTexts(tokenizer, ids, [id('<s>'), id('▁the')])).toEqual([
      ...[' the', ' cat', 's', ' ', 'a', '</s>'],
    ]);
    expect(tokenTexts(tokenizer, ids).slice(1, 3)).toEqual([' cat', 's']);
  });

  it('joins bytes that make one character', () => {
    const bytes = ['<0xF0>', '<0x9F>', '<0x98>', '<0x80>'].map(id);
    expect(tokenTexts(tokenizer, [id('▁the'), ...bytes, id('.')], [id('a')])).toEqual([
      ...[' the', '', '', '', '😀', '.'],
    ]);
    expect(tokenTexts(tokenizer, [bytes[0]!, id('a')], [id('a')])).toEqual(['\uFFFD', 'a']);
  });
});
