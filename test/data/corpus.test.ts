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

  it.each([
    ['c.json', '[{"text":"ab\\n\\nc"},\n {"text":"d"}]'],
    ['c.ndjson', '{"text":"ab\\n\\nc"}\n{"text":"d"}\n'],
    ['c.JSONL', '{"text":"ab\\n\\nc"}\n{"text":"d"}\n'],
    ['c.txt', '\n {"text":"ab\\n\\nc"}\n{"text":"d"}\n'],
    ['corpus', '[\n{"text":"ab\\n\\nc"},{"text":"d"}\n]\n'],
  ])('tells JSON by its content, whatever the name: %s', async (name, text) => {
    expect(await chunks(text, 4, name)).toEqual(['ab\n\n', 'c|d|']);
  });

  it('refuses JSON without texts, and takes prose that begins with a bracket as prose', async () => {
    await expect(chunks('{"a":\n 1}', 1, 'e.txt')).rejects.toThrow('e.txt:1: not JSON');
    await expect(chunks('[{"a":1}]', 1, 'f.json')).rejects.toThrow('f.json[0]: expected a field "text"');
    expect(await chunks('[Plate]\n\n{x}', 8, 'g.txt')).toEqual(['[Plate]|']);
  });

  it('refuses a text shorter than one piece, an empty one, and a missing file', async () => {
    await expect(chunks('abc', 5)).rejects.toThrow('has 4 tokens, fewer than one piece of 5');
    await expect(chunks('\n\n', 1)).rejects.toThrow(UsageError);
    await expect(corpusChunks(path.join(root, 'none.txt'), characters, 4)).rejects.toThrow('no such file');
  });
});
