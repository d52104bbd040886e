import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { buildDolly, type DollyOptions } from '../../src/data/dolly.js';
import { runInProcess } from '../helpers/cli.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('dolly');
afterAll(place.remove);

interface Written {
  instruction: string;
  input: string;
  output: string;
  category?: string;
}

function write(name: string, rows: object[]): string {
  const file = join(place.path, name);
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
}

/** As published: 40 prompts, every fourth twice, with another answer. */
const rows = Array.from({ length: 40 }, (_, i) => {
  const row = (copy: number) => ({
    instruction: `question ${i}`,
    context: i % 2 ? `context ${i}` : '',
    response: `answer ${i}.${copy}\n`,
    category: i % 2 ? 'closed_qa' : 'open_qa',
  });
  return i % 4 === 0 ? [row(0), row(1)] : [row(0)];
}).flat();

const build = async (name: string, change: Partial<DollyOptions> = {}) => {
  const out = join(place.path, name);
  const input = write('dolly.jsonl', rows);
  const counts = await buildDolly({
    input,
    out,
    seed: 1,
    sizes: { valid: 7, test: 9 },
    exclude: [],
    ...change,
  });
  const read = (split: string): Written[] =>
    readFileSync(join(out, `${split}.jsonl`), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  return { counts, out, train: read('train'), valid: read('valid'), test: read('test') };
};

describe('data build dolly', () => {
  it('every row once, with the fields of MiniLLM, in splits of the sizes asked for', async () => {
    const { counts, train, valid, test } = await build('whole');
    expect(counts).toEqual({ rows: { train: 34, valid: 7, test: 9 }, excluded: 0, empty: 0 });
    expect([train.length, valid.length, test.length]).toEqual([34, 7, 9]);
    const all = [...train, ...valid, ...test];
    expect(all.map(({ output }) => output).sort()).toEqual(
      rows.map(({ response }) => response.trim()).sort(),
    );
    const seventh = all.find(({ instruction }) => instruction === 'question 7');
    expect(seventh).toEqual({
      instruction: 'question 7',
      input: 'context 7',
      output: 'answer 7.0',
      category: 'closed_qa',
    });
  });

  it('no prompt is in two splits', async () => {
    for (const seed of [0, 1, 2, 3]) {
      const { train, valid, test } = await build(`seed-${seed}`, { seed });
      const prompts = (some: Written[]) => new Set(some.map(({ instruction }) => instruction));
      const [a, b, c] = [prompts(train), prompts(valid), prompts(test)];
      expect(new Set([...a, ...b, ...c]).size).toBe(a.size + b.size + c.size);
      expect(a.size + b.size + c.size).toBe(40);
    }
  });

  it('the same seed gives the same bytes, another seed another split', async () => {
    const bytes = ({ out }: { out: string }) =>
      ['train.jsonl', 'valid.jsonl', 'test.jsonl', 'README.md'].map((name) =>
        readFileSync(join(out, name), 'utf8'),
      );
    expect(bytes(await build('one'))).toEqual(bytes(await build('two')));
    expect((await build('three', { seed: 2 })).test).not.toEqual((await build('four')).test);
  });

  it('leaves out the prompts of a published test set, whatever its fields are called, and rows without an answer', async () => {
    const published = write('test-set.jsonl', [
      { instruction: 'question 4 ', input: '', output: ['a', 'b'] },
      { instruction: 'question 5', input: 'context 5', output: 'c' },
      { instruction: 'question 7', input: 'another context', output: 'd' },
    ]);
    const input = write('holes.jsonl', [...rows, { instruction: 'question 40', context: '', response: ' ' }]);
    const { counts, train } = await build('excluded', {
      input,
      exclude: [published],
      sizes: { valid: 5, test: 0 },
    });
    expect(counts).toEqual({ rows: { train: 42, valid: 5, test: 0 }, excluded: 3, empty: 1 });
    expect(train.every(({ instruction }) => !['question 4', 'question 5'].includes(instruction))).toBe(true);
  });

  it('sizes that leave nothing, and rows that are none: one line', async () => {
    await expect(build('none', { sizes: { valid: 25, test: 25 } })).rejects.toThrow(
      /dolly\.jsonl: 50 rows to split, 25 valid and 25 test asked for; nothing is left to train on$/,
    );
    const input = write('bad.jsonl', [{ question: 'a' }]);
    await expect(build('bad', { input })).rejects.toThrow(/bad\.jsonl:1: expected a field "instruction"/);
  });

  it('from the command line', async () => {
    const input = write('dolly.jsonl', rows);
    const out = join(place.path, 'command');
    const { code, stdout } = await runInProcess(
      ...['data', 'build', 'dolly', '--input', input, '--out', out, '--valid', '4', '--test', '2'],
    );
    expect([code, stdout]).toEqual([0, `${out}: 44 train, 4 valid, 2 test rows and README.md\n`]);
    expect(readFileSync(join(out, 'README.md'), 'utf8')).toMatch(/CC BY-SA 3\.0/);
  });
});

describe('what lies in --out', () => {
  const input = () => write('dolly.jsonl', rows);
  const run = (out: string, ...flags: string[]) =>
    runInProcess(
      ...[
        'data',
        'build',
        'dolly',
        '--input',
        input(),
        '--out',
        out,
        '--valid',
        '7',
        '--test',
        '9',
        ...flags,
      ],
    );

  it.each(['train.jsonl', 'README.md'])(
    'a %s of somebody’s own is refused, and nothing is written',
    async (name) => {
      const out = join(place.path, `own-${name}`);
      mkdirSync(out);
      writeFileSync(join(out, name), 'mine\n');
      const refused = await run(out);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toBe(
        `minillm: ${out}: holds ${name} that this command did not make; give --out another directory, or add --force to overwrite\n`,
      );
      expect(readdirSync(out)).toEqual([name]);
      expect(readFileSync(join(out, name), 'utf8')).toBe('mine\n');
      expect((await run(out, '--force')).code).toBe(0);
      expect(readFileSync(join(out, name), 'utf8')).not.toBe('mine\n');
    },
  );

  it('what it made itself it makes again, with other options too, until somebody changes it', async () => {
    const out = join(place.path, 'again');
    for (const seed of ['1', '1', '2']) expect((await run(out, '--seed', seed)).code).toBe(0);
    appendFileSync(join(out, 'valid.jsonl'), '{"instruction":"mine","output":"mine"}\n');
    const refused = await run(out, '--seed', '2');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('holds valid.jsonl that this command did not make');
  });
});
