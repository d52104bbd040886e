import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { maxLineBytes, readJsonl, writeJsonl } from '../../src/data/jsonl.js';
import { UsageError } from '../../src/errors.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-jsonl-'));
afterAll(() => rmSync(root, { recursive: true }));
let files = 0;

function file(content: string | Buffer): string {
  const name = path.join(root, `${files++}.jsonl`);
  writeFileSync(name, content);
  return name;
}

async function read(name: string): Promise<unknown[]> {
  const rows: unknown[] = [];
  for await (const { value } of readJsonl(name)) rows.push(value);
  return rows;
}

describe('readJsonl', () => {
  it.each([
    ['rows', '{"a":1}\n{"a":"é🙂"}\n', [{ a: 1 }, { a: 'é🙂' }]],
    ['no line break at the end', '{"a":1}\n{"a":2}', [{ a: 1 }, { a: 2 }]],
    ['CRLF, blank lines, a byte-order mark', '\uFEFF{"a":1}\r\n\r\n  \n{"a":2}\r\n', [{ a: 1 }, { a: 2 }]],
    ['nothing', '', []],
  ])('reads %s', async (_, text, rows) => {
    expect(await read(file(text))).toEqual(rows);
  });

  it('says where a row stands, blank lines counted', async () => {
    const name = file('{"a":1}\n\n{"a":2}\n');
    const places: string[] = [];
    for await (const { where } of readJsonl(name)) places.push(where);
    expect(places).toEqual([`${name}:1`, `${name}:3`]);
  });

  it('reads lines that span the pieces of the stream', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => ({ i, text: 'é'.repeat(5000 * (i % 5)) }));
    const name = path.join(root, 'long.jsonl');
    await writeJsonl(name, rows);
    expect(await read(name)).toEqual(rows);
  });

  it.each([
    ['an unfinished last line', '{"a":1}\n{"a":', ':2: not JSON', 'is the file truncated?'],
    ['a bad line in the middle', '{"a":1}\n{a:1}\n{"a":2}\n', ':2: not JSON', 'one JSON object per line'],
    ['an array', '{"a":1}\n[1]\n', ':2: expected a JSON object, found an array'],
    ['null', 'null\n', ':1: expected a JSON object, found null'],
    ['a number', '7\n', ':1: expected a JSON object, found a number'],
    [
      'bytes that are not UTF-8',
      Buffer.from([0x7b, 0x7d, 0x0a, 0x7b, 0xff, 0xfe, 0x7d]),
      ':2: not valid UTF-8',
      'UTF-8',
    ],
  ])('ends with one line at %s', async (_, content, place, hint = place) => {
    const name = file(content);
    const failure = read(name);
    await expect(failure).rejects.toThrow(UsageError);
    await expect(failure).rejects.toThrow(`${name}${place}`);
    await expect(failure).rejects.toThrow(hint);
  });

  it('ends at a line of more than 16 MiB, before it is read whole', async () => {
    const name = file(Buffer.concat([Buffer.from('{}\n'), Buffer.alloc(maxLineBytes + 1, 0x20)]));
    await expect(read(name)).rejects.toThrow(`${name}:2: the line is longer than 16 MiB`);
  });

  it.each([
    ['no such file', path.join(root, 'none.jsonl'), 'no such file'],
    ['a directory', root, 'it is a directory'],
  ])('ends with one line at %s', async (_, name, message) => {
    await expect(read(name)).rejects.toThrow(UsageError);
    await expect(read(name)).rejects.toThrow(`${name} cannot be read: ${message}`);
  });
});

describe('writeJsonl', () => {
  it('writes one row per line, making the directory', async () => {
    const name = path.join(root, 'new', 'rows.jsonl');
    await writeJsonl(name, [{ a: 'x\ny' }, { b: null }]);
    expect(readFileSync(name, 'utf8')).toBe('{"a":"x\\ny"}\n{"b":null}\n');
  });

  it('leaves the old file, and nothing else, when a row fails', async () => {
    const dir = mkdtempSync(path.join(root, 'w-'));
    const name = path.join(dir, 'rows.jsonl');
    await writeJsonl(name, [{ old: true }]);
    async function* rows() {
      yield { new: 1 };
      throw new Error('source broke');
    }
    await expect(writeJsonl(name, rows())).rejects.toThrow('source broke');
    expect(readFileSync(name, 'utf8')).toBe('{"old":true}\n');
    expect(readdirSync(dir)).toEqual(['rows.jsonl']);
  });

  it('fails in words where nothing can be written', async () => {
    await expect(writeJsonl(path.join(root, 'new'), [{ a: 1 }])).rejects.toThrow(/EISDIR|EEXIST|ENOTEMPTY/);
  });
});
