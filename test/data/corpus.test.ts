import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { corpusChunks } from '../../src/data/corpus.js';
import { UsageError } from '../../src/errors.js';
import type { Tokenizer } from '../../src/text/tokenizer.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-corpus-'));
afterAll(() => rmSync(root, { recursive: true }));

/** One token per character, its code; EOS is 0. */
const characters: Tokenizer = {
  vocabSize: 128,
  eosId: 0,
  padId: 0,
  encode: (text) => Array.from(text, (c) => c.charCodeAt(0)),
  decode: (ids) => String.fromCharCode(...Array.from(ids)),
  fingerprint: 'characters',
};

async function chunks(text: string, length: number, name = 'corpus.txt'): Promise<string[]> {
  const file = path.join(root, name);
  writeFileSync(file, text);
  return (await corpusChunks(file, characters, length)).map((ids) =>
    characters.decode(ids).replaceAll('\0', '|'),
  );
}

describe('corpusChunks', () => {
  it('joins documents with EOS, cuts into equal pieces, leaves a shorter rest out', async () => {
    expect(await chunks('ab\nc\n\nde\n \t\n\n\nfgh\n', 5)).toEqual(['ab\nc|', 'de|fg']);
    expect(await chunks('ab\nc\n\nde\n \t\n\n\nfgh\n', 3)).toEqual(['ab\n', 'c|d', 'e|f', 'gh|']);
    expect(await chunks('ab\r\n\r\ncd\r\n', 3)).toEqual(['ab|', 'cd|']);
  });

  it('takes the text fields of JSONL as documents', async () => {
    expect(await chunks('{"text":"ab\\n\\nc"}\n{"text":" "}\n{"text":"d"}\n', 4, 'c.jsonl')).toEqual([
      'ab\n\n',
      'c|d|',
    ]);
    await expect(chunks('{"txt":"a"}\n', 1, 'd.jsonl')).rejects.toThrow('d.jsonl:1: expected a field "text"');
  });

  it('refuses a text shorter than one piece, an empty one, and a missing file', async () => {
    await expect(chunks('abc', 5)).rejects.toThrow('has 4 tokens, fewer than one piece of 5');
    await expect(chunks('\n\n', 1)).rejects.toThrow(UsageError);
    await expect(corpusChunks(path.join(root, 'none.txt'), characters, 4)).rejects.toThrow('no such file');
  });
});
