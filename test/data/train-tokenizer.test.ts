import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { tokenizerCommand } from '../../src/cli/commands/tokenizer.js';
import { trainTokenizer } from '../../src/data/train-tokenizer.js';
import { UsageError } from '../../src/errors.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-train-tokenizer-'));
afterAll(() => rmSync(root, { recursive: true }));

function file(name: string, text: string | Buffer): string {
  writeFileSync(path.join(root, name), text);
  return path.join(root, name);
}

const row = { instruction: 'xyxy', input: 'xy', output: 'xy', task: 'pqpqpqpqpqpq', n: 5 };
const rows = file('rows.jsonl', `${JSON.stringify(row)}\n`);

describe('trainTokenizer', () => {
  it('counts every string field of a row', async () => {
    expect((await trainTokenizer([rows], 258)).merges).toEqual([['p', 'q']]);
  });

  it('with a template, counts prompt and output and nothing else', async () => {
    const { merges } = await trainTokenizer([rows], 262, 'plain');
    expect(merges.map((pair) => pair.join('+'))).toEqual(['x+y', 'A+n', 'e+r', 's+w', 'xy+xy']);
  });

  it('adds texts and rows together', async () => {
    const text = file('text.txt', 'zw '.repeat(50));
    expect((await trainTokenizer([rows, text], 258)).merges).toEqual([['z', 'w']]);
  });

  it.each(['rows.json', 'rows.ndjson', 'rows.JSONL', 'rows.txt'])(
    'tells rows by their content: %s',
    async (name) => {
      const text = name.endsWith('.json') ? JSON.stringify([row], null, 1) : JSON.stringify(row);
      expect((await trainTokenizer([file(`other-${name}`, text)], 258)).merges).toEqual([['p', 'q']]);
    },
  );

  it.each([
    ['a missing file', path.join(root, 'none.txt'), 'no such file'],
    ['bytes that are not UTF-8', file('bad.txt', Buffer.from([0xff, 0xfe])), 'not valid UTF-8'],
    ['no text', file('empty.txt', ''), 'no text to train'],
    ['no JSONL', file('bad.jsonl', 'text\n'), 'bad.jsonl:1: not JSON'],
  ])('ends with one line at %s', async (_, name, message) => {
    await expect(trainTokenizer([name], 300)).rejects.toThrow(UsageError);
    await expect(trainTokenizer([name], 300)).rejects.toThrow(message);
  });
});

describe('minillm tokenizer train', () => {
  it('writes a directory that loads, the same bytes every time', async () => {
    const text = file('story.txt', 'the cat and the other cat '.repeat(3));
    const bytes: string[] = [];
    for (const name of ['a', 'b']) {
      const out = path.join(root, name);
      await tokenizerCommand().parseAsync(
        ['train', '--input', text, rows, '--vocab-size', '264', '--out', out, '--quiet'],
        { from: 'user' },
      );
      bytes.push(
        ['tokenizer.json', 'tokenizer_config.json']
          .map((f) => readFileSync(path.join(out, f), 'utf8'))
          .join(),
      );
    }
    expect(bytes[0]).toBe(bytes[1]);
    const tokenizer = await loadTokenizer(path.join(root, 'a'));
    expect([tokenizer.vocabSize, tokenizer.eosId, tokenizer.padId, tokenizer.bosId]).toEqual([264, 0, 0, 0]);
    expect(tokenizer.decode(tokenizer.encode('the cat'))).toBe('the cat');
  });
});
