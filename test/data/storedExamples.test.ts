import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type ExampleLimits, firstExamples, loadExamples } from '../../src/data/examples.js';
import { openExamples } from '../../src/data/storedExamples.js';
import { RunError, UsageError } from '../../src/errors.js';
import type { Tokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../helpers/temporary.js';

const root = temporaryFolder('stored');
const characters: Tokenizer = {
  ...{ vocabSize: 0x20000, eosId: 0, padId: 0, fingerprint: 'characters' },
  encode: (text) => Array.from(text, (c) => c.codePointAt(0)!),
  decode: (ids) => String.fromCodePoint(...Array.from(ids)),
  chat: Object.assign(
    (turns: readonly { role: string; content: string }[]) =>
      turns.map(({ role, content }) => `${role}:${content};`).join(''),
    { usesDate: false },
  ),
};
const limits: ExampleLimits = { template: 'plain', maxPromptTokens: 40, maxTokens: 60 };
/** No file is so small that it would be in memory. */
const never = { jsonl: -1, parquet: -1 };
let files = 0;
const fileOf = (text: string, extension = 'jsonl'): string => {
  const file = join(root, `${files++}.${extension}`);
  writeFileSync(file, text);
  return file;
};

const rows = [
  { instruction: 'Do', input: 'x', output: 'y' },
  { instruction: 'a'.repeat(50), output: 'too long' },
  { instruction: 'Née 🦦', output: ['ø', 'z'] },
  {
    instruction: 'I',
    instances: [
      { input: 'a', output: 'b' },
      { input: 'a'.repeat(50), output: 'c' },
      { input: '', output: 'd' },
    ],
  },
  { prompt: 'P:', completion: ' q' },
  { instruction: 'C', output: 'b', choices: ['a', 'b'] },
].map((row) => JSON.stringify(row));

describe('examples of a file that stays on the disk', () => {
  it.each([
    ['lines', `${rows.join('\n')}\n`],
    ['a byte-order mark, CRLF, blank lines, no last line break', `\uFEFF${rows.join('\r\n\r\n')}`],
    ['lines longer than a read', `${rows.map((row) => `${row}${' '.repeat(70_000)}`).join('\n')}\n`],
  ])('are those in memory, in their order: %s', async (_, text) => {
    const file = fileOf(text);
    const loaded = await loadExamples(file, characters, limits);
    const { examples, ...counted } = await openExamples(file, characters, limits, never);
    expect(Array.isArray(examples)).toBe(false);
    expect(firstExamples(examples)).toEqual(loaded.examples);
    const rowsToo = { ...limits, keepRows: true };
    const { examples: whole } = await openExamples(file, characters, rowsToo, never);
    expect(firstExamples(whole)).toEqual((await loadExamples(file, characters, rowsToo)).examples);
    whole.close?.();
    expect(examples.at(3)).toEqual(loaded.examples[3]);
    expect([examples.at(-1), examples.at(examples.length)]).toEqual([undefined, undefined]);
    expect(counted).toEqual({ dropped: loaded.dropped, special: loaded.special });
    expect([examples.length, counted.dropped]).toEqual([6, 2]);
    examples.close?.();
  });

  it('of Parquet too, whose rows go through a file without a name', async () => {
    const file = fileURLToPath(new URL('../fixtures/data/groups.parquet', import.meta.url));
    const chat: ExampleLimits = {
      ...limits,
      template: 'chat',
      maxPromptTokens: 60,
      maxTokens: 99,
      outputs: 'optional',
    };
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('minillm-rows-'));
    const { examples } = await openExamples(file, characters, chat, never);
    expect(firstExamples(examples)).toEqual((await loadExamples(file, characters, chat)).examples);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('minillm-rows-'))).toEqual(before);
    examples.close?.();
  });

  it('a small file and an array are in memory', async () => {
    const text = rows.join('\n');
    expect(Array.isArray((await openExamples(fileOf(text), characters, limits)).examples)).toBe(true);
    const array = fileOf(`[${rows.join(',')}]`, 'json');
    expect(Array.isArray((await openExamples(array, characters, limits, never)).examples)).toBe(true);
  });

  it('a bad row ends with the line that names it, before anything begins', async () => {
    const opened = (text: string) => openExamples(fileOf(text), characters, limits, never);
    const bad = opened(`${rows[0]}\n{"instruction":5}\n`);
    await expect(bad).rejects.toThrow(UsageError);
    await expect(bad).rejects.toThrow(/jsonl:2: "instruction": expected a string/);
    await expect(opened('')).rejects.toThrow('has no rows');
    await expect(openExamples(join(root, 'none.jsonl'), characters, limits, never)).rejects.toThrow(
      'no such file',
    );
  });

  it('a file that was changed since is told', async () => {
    const file = fileOf(`${rows.join('\n')}\n`);
    const { examples } = await openExamples(file, characters, limits, never);
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('Née', '"""'));
    expect(examples.at(0)!.outputs).toEqual(['y']);
    expect(() => examples.at(1)).toThrow(RunError);
    expect(() => examples.at(1)).toThrow('is not what it was when the run began');
    truncateSync(file, 100);
    expect(() => examples.at(5)).toThrow('is not what it was');
    examples.close?.();
  });

  it('the benchmark runs', () => {
    const script = fileURLToPath(new URL('../../experiments/bench/manyRows.ts', import.meta.url));
    expect(existsSync(script)).toBe(true);
    const out = execFileSync(process.execPath, ['--import', 'tsx', script, '--rows', '500', '--json'], {
      encoding: 'utf8',
    });
    const { memory, disk } = JSON.parse(out);
    expect([memory.examples, disk.examples]).toEqual([500, 500]);
    expect(disk.digest).toBe(memory.digest);
  });
});
