import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { corpusChunks } from '../../src/data/corpus.js';
import { loadExamples } from '../../src/data/examples.js';
import { slices } from '../../src/data/parquet.js';
import { readPrompts } from '../../src/data/prompts.js';
import { holdsRows, readRows } from '../../src/data/rows.js';
import { UsageError } from '../../src/errors.js';
import { integer, stream } from '../../src/random/streams.js';
import type { Tokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../helpers/temporary.js';

const fixtures = fileURLToPath(new URL('../fixtures/data/', import.meta.url));
const names = readdirSync(fixtures).filter((name) => name.endsWith('.parquet'));
const wanted = JSON.parse(readFileSync(join(fixtures, 'rows.json'), 'utf8')) as Record<string, unknown>[];
const root = temporaryFolder('parquet');

async function rowsOf(file: string): Promise<unknown[]> {
  const rows: unknown[] = [];
  for await (const { value } of readRows(file)) rows.push(value);
  return rows;
}

/** A file with these bytes; its name says nothing. */
let files = 0;
function fileOf(bytes: Uint8Array, name = 'rows'): string {
  const file = join(root, `${files++}-${name}`);
  writeFileSync(file, bytes);
  return file;
}

describe('Parquet files', () => {
  it.each(names)('%s has the rows of pyarrow', async (name) => {
    expect(await rowsOf(join(fixtures, name))).toEqual(wanted);
  });

  it('have the same rows a few at a time', async () => {
    const usual = slices.rows;
    slices.rows = 4;
    try {
      for (const name of names) expect(await rowsOf(join(fixtures, name)), name).toEqual(wanted);
    } finally {
      slices.rows = usual;
    }
  });

  it('are told by their first bytes, and a row by its index', async () => {
    const file = fileOf(readFileSync(join(fixtures, 'groups.parquet')));
    expect(await holdsRows(file)).toBe(true);
    const places: string[] = [];
    for await (const { where } of readRows(file)) places.push(where);
    expect([places[0], places[7], places.length]).toEqual([`${file}[0]`, `${file}[7]`, 23]);
  });

  it('are examples, prompts and documents like other rows', async () => {
    const tokenizer: Tokenizer = {
      ...{ vocabSize: 0x10000, eosId: 0, padId: 0, fingerprint: 'characters' },
      encode: (text) => Array.from(text, (c) => c.charCodeAt(0)),
      decode: (ids) => String.fromCharCode(...Array.from(ids)),
      chat: Object.assign(
        (turns: readonly { role: string; content: string }[]) =>
          turns.map(({ role, content }) => `${role}:${content};`).join(''),
        { usesDate: false },
      ),
    };
    const file = join(fixtures, 'zstd.parquet');
    const limits = { maxPromptTokens: 1000, maxTokens: 2000, template: 'chat' } as const;
    const { examples } = await loadExamples(file, tokenizer, { ...limits, outputs: 'optional' });
    expect(examples).toHaveLength(23);
    expect(examples[0]!.outputs).toEqual(['It is 0.']);
    await expect(loadExamples(file, tokenizer, { ...limits, neededBy: 'sft' })).rejects.toThrow(
      `${file}[5]: has no "output", and sft needs one`,
    );
    expect((await readPrompts(file))[3]!.messages).toEqual([{ role: 'user', content: 'What is 3? 🦦' }]);
    const [piece] = await corpusChunks(file, tokenizer, 12);
    expect(tokenizer.decode(piece!)).toBe('row 1 \0row 2 '.slice(0, 12));
  });
});

describe('a Parquet file that cannot be read ends with one line', () => {
  const whole = readFileSync(join(fixtures, 'none.parquet'));
  const patched = (at: number, ...bytes: number[]): Buffer => {
    const copy = Buffer.from(whole);
    copy.set(bytes, at < 0 ? copy.length + at : at);
    return copy;
  };
  it.each([
    ['truncated', whole.subarray(0, 3000), 'it does not end with PAR1; is it truncated?'],
    ['its first bytes alone', Buffer.from('PAR1'), 'it does not end with PAR1; is it truncated?'],
    ['encrypted', patched(-1, 0x45), 'it is encrypted'],
    ['a footer longer than the file', patched(-8, 0xff, 0xff, 0xff, 0x7f), '2147483647 bytes announced'],
    ['no footer', patched(-8, 0, 0, 0, 0), 'footer: '],
  ])('%s', async (_, bytes, message) => {
    const failure = rowsOf(fileOf(bytes));
    await expect(failure).rejects.toThrow(UsageError);
    await expect(failure).rejects.toThrow(message);
  });

  it('a name that says Parquet alone', async () => {
    await expect(rowsOf(fileOf(Buffer.from('{}\n'), 'x.parquet'))).rejects.toThrow(
      'does not begin with PAR1',
    );
  });

  it('a footer of more than 16 MiB is not read', async () => {
    const file = fileOf(
      Buffer.concat([Buffer.from('PAR1'), Buffer.alloc(2 ** 24 + 1), patched(-8, 1, 0, 0, 1).subarray(-8)]),
    );
    await expect(rowsOf(file)).rejects.toThrow('write larger row groups');
    rmSync(file);
  });

  it('whatever bytes are changed: rows or one line, in bounded memory', async () => {
    const sources = names.map((name) => readFileSync(join(fixtures, name)));
    const before = process.resourceUsage().maxRSS;
    let refused = 0;
    for (let i = 0; i < 240; i++) {
      const draw = (n: number, of: string): number => integer(stream(7, 'damage', i, of), n);
      const bytes = Buffer.from(sources[i % sources.length]!);
      const footer = bytes.readUInt32LE(bytes.length - 8);
      const at =
        i % 2 ? 4 + draw(bytes.length - footer - 12, 'page') : bytes.length - 8 - draw(footer, 'footer');
      if (i % 3) bytes[at] = draw(256, 'byte');
      else bytes.fill(0xff, at, Math.min(at + 4, bytes.length - 8));
      const file = fileOf(bytes);
      try {
        expect((await rowsOf(file)).length).toBeLessThanOrEqual(23);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        refused++;
      }
      rmSync(file);
    }
    expect(refused).toBeGreaterThan(60);
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(200 * 1024);
  });
});

it('the fixtures are those of the script', () => {
  expect(existsSync(join(fixtures, 'make_parquet.py'))).toBe(true);
  expect(names).toHaveLength(12);
});
