import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type ExampleLimits, loadExamples } from '../../src/data/examples.js';
import { UsageError } from '../../src/errors.js';
import type { Tokenizer } from '../../src/text/tokenizer.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-examples-'));
afterAll(() => rmSync(root, { recursive: true }));
let files = 0;

function file(content: unknown, extension = 'jsonl'): string {
  const name = path.join(root, `${files++}.${extension}`);
  const rows = Array.isArray(content)
    ? content.map((row) => JSON.stringify(row)).join('\n')
    : String(content);
  writeFileSync(name, rows);
  return name;
}

/** One token per character, its code; EOS is 0. */
const characters: Tokenizer = {
  vocabSize: 0x10000,
  eosId: 0,
  padId: 0,
  encode: (text) => Array.from(text, (c) => c.charCodeAt(0)),
  decode: (ids) => String.fromCharCode(...Array.from(ids)),
  fingerprint: 'characters',
};
const wide: ExampleLimits = { template: 'plain', maxPromptTokens: 1000, maxTokens: 2000 };
const load = (content: unknown, limits = wide) => loadExamples(file(content), characters, limits);

describe('loadExamples', () => {
  it('formats, encodes and keeps the words', async () => {
    const { examples, dropped } = await load([
      { instruction: 'Do', input: 'x', output: 'y', task: 'any', extra: 3 },
    ]);
    expect(dropped).toBe(0);
    expect(examples).toEqual([
      {
        instruction: 'Do',
        input: 'x',
        outputs: ['y'],
        prompt: 'Do\nx\nAnswer:\n',
        promptIds: Int32Array.from('Do\nx\nAnswer:\n', (c) => c.charCodeAt(0)),
        responseIds: Int32Array.from([121, 0]),
      },
    ]);
  });

  it.each([
    [
      'Dolly’s names',
      { instruction: 'Do', context: 'x', response: 'y', category: 'qa' },
      'Do\nx\nAnswer:\n',
      ['y'],
    ],
    ['a null input', { instruction: 'Do', input: null, output: 'y' }, 'Do\nAnswer:\n', ['y']],
    ['several references', { instruction: 'Do', output: ['y', 'z'] }, 'Do\nAnswer:\n', ['y', 'z']],
    ['a finished prompt', { prompt: 'Q: x\nA:', completion: ' y' }, 'Q: x\nA:', [' y']],
    [
      'an instruction beside a prompt',
      { instruction: 'Do', input: '', prompt: 'old', output: 'y' },
      'Do\nAnswer:\n',
      ['y'],
    ],
  ])('reads %s', async (_, row, prompt, outputs) => {
    const { examples } = await load([row]);
    expect(examples.map((e) => [e.prompt, e.outputs])).toEqual([[prompt, outputs]]);
  });

  it('takes ids as they stand: nothing is added, and the texts are theirs', async () => {
    const row = { prompt_ids: [65, 66], response_ids: [67] };
    const { examples } = await load([row, { prompt_ids: [65], response_ids: [68, 0] }]);
    expect(examples).toEqual([
      {
        ...{ instruction: 'AB', input: '', prompt: 'AB', outputs: ['C'] },
        promptIds: Int32Array.from([65, 66]),
        responseIds: Int32Array.from([67]),
      },
      {
        ...{ instruction: 'A', input: '', prompt: 'A', outputs: ['D\0'] },
        promptIds: Int32Array.from([65]),
        responseIds: Int32Array.from([68, 0]),
      },
    ]);
    const kept = await load([row], { ...wide, keepRows: true });
    expect(kept.examples[0]!.row).toEqual(row);
    const texts = await load([{ ...row, prompt: 'Q', output: 'y' }]); // texts stay what decides, where there are some
    expect(texts.examples[0]!.promptIds).toEqual(Int32Array.from([81]));
  });

  it('holds ids to the limits, and names what is wrong with them', async () => {
    const row = { prompt_ids: [65, 66], response_ids: [67] };
    expect(
      (await load([row, { prompt_ids: [65], response_ids: [67] }], { ...wide, maxTokens: 2 })).dropped,
    ).toBe(1);
    await expect(load([{ prompt_ids: [65] }])).rejects.toThrow(
      /:1: has no "response_ids"; expected the reference answer as a list of token ids$/,
    );
    const alone = await load([{ prompt_ids: [65] }], { ...wide, outputs: 'optional' });
    expect(alone.examples[0]).toMatchObject({ outputs: [], responseIds: new Int32Array() });
    await expect(load([{ prompt_ids: [] }])).rejects.toThrow('"prompt_ids": expected a list of token ids');
    await expect(load([{ prompt_ids: [65], response_ids: [7, 65536] }])).rejects.toThrow(
      '"response_ids"[1]: 65536 is no token of this tokenizer; expected ids below 65536',
    );
  });

  it('reads Self-Instruct: one example for each instance', async () => {
    const { examples } = await load([
      {
        id: 't',
        instruction: 'Do',
        instances: [
          { input: 'a', output: 'b' },
          { input: '', output: 'c' },
        ],
      },
    ]);
    expect(examples.map((e) => [e.input, e.outputs])).toEqual([
      ['a', ['b']],
      ['', ['c']],
    ]);
  });

  it('reads Vicuna’s questions when answers are optional, and says so when they are not', async () => {
    const rows = [{ question_id: 1, turns: ['Why?', 'And?'] }];
    const { examples } = await load(rows, { ...wide, outputs: 'optional' });
    expect(examples.map((e) => [e.prompt, e.outputs, e.responseIds.length])).toEqual([
      ['Why?\nAnswer:\n', [], 0],
    ]);
    await expect(load(rows)).rejects.toThrow(':1: has no "output"');
  });

  it('encodes the answers that a classification row chooses from', async () => {
    const row = { instruction: 'Do', output: 'b', choices: ['a', 'b'] };
    const { examples } = await load([row, { instruction: 'Do', output: 'b' }]);
    const promptIds = Int32Array.from('Do\nAnswer:\n', (c) => c.charCodeAt(0));
    expect(examples.map(({ choices }) => choices)).toEqual([
      [
        { text: 'a', promptIds, responseIds: Int32Array.of(97, 0) },
        { text: 'b', promptIds, responseIds: Int32Array.of(98, 0) },
      ],
      undefined,
    ]);
  });

  it('reads a JSON array, named by position in messages', async () => {
    const text = '\uFEFF [\n {"instruction": "Do",\n "output": "y"},\n {"instruction": 5}]';
    const name = file(text, 'json');
    await expect(loadExamples(name, characters, wide)).rejects.toThrow(
      `${name}[1]: "instruction": expected a string, found a number`,
    );
    const good = file('[{"instruction":"Do","output":"y"}]', 'json');
    expect((await loadExamples(good, characters, wide)).examples).toHaveLength(1);
  });

  it('drops what is over either limit, EOS counted, and says how many', async () => {
    // "a\nAnswer:\n" has 10 tokens; with "xyz" and EOS 14.
    const rows = [
      { instruction: 'a', output: 'xyz' },
      { instruction: 'a', output: 'xyzz' },
      { instruction: 'ab', output: 'x' },
    ];
    const { examples, dropped } = await load(rows, { template: 'plain', maxPromptTokens: 10, maxTokens: 14 });
    expect(examples.map((e) => e.outputs[0])).toEqual(['xyz']);
    expect(dropped).toBe(2);
  });

  it.each([
    ['no rows', '', 'has no rows'],
    ['blank lines only', '\n\n', 'has no rows'],
    ['an empty array', '[]', 'has no rows'],
    ['a broken array', '[{"instruction":', 'not JSON'],
    ['an array of numbers', '[1]', '[0]: expected a JSON object, found a number'],
    [
      'other fields',
      '{"question":"q","answer":"a"}',
      ':1: expected a field "instruction" (or "prompt", "messages", or "turns"); its fields are: question, answer',
    ],
    ['no fields', '{}', 'its fields are: none'],
    ['an empty instruction', '{"instruction":" ","output":"y"}', ':1: "instruction" is empty'],
    [
      'an input that is no text',
      '{"instruction":"Do","input":{},"output":"y"}',
      ':1: "input": expected a string, found an object',
    ],
    ['no output', '{"instruction":"Do"}', ':1: has no "output"'],
    [
      'an output that is no text',
      '{"instruction":"Do","output":3}',
      ':1: "output": expected a list of strings, found a number',
    ],
    ['an empty list of references', '{"instruction":"Do","output":[]}', ':1: "output": the list is empty'],
    [
      'a reference that is no text',
      '{"instruction":"Do","output":["a",null]}',
      ':1: output[1]: expected a string, found null',
    ],
    [
      'instances that are no list',
      '{"instruction":"Do","instances":"x"}',
      ':1: "instances": expected a list',
    ],
    [
      'an instance that is no object',
      '{"instruction":"Do","instances":[7]}',
      ':1: instances[0]: expected an object, found a number',
    ],
    [
      'choices without the answer',
      '{"instruction":"Do","output":"c","choices":["a","b"]}',
      ':1: "choices" lack the output',
    ],
    [
      'one choice twice',
      '{"instruction":"Do","output":"a","choices":["a","a"]}',
      ':1: "choices": expected two different answers or more',
    ],
    [
      'a choice that is no text',
      '{"instruction":"Do","output":"a","choices":["a",1]}',
      ':1: "choices": expected a list of strings that are not empty',
    ],
    ['turns without a question', '{"turns":[1]}', ':1: turns[0]: expected a question'],
  ])('ends with one line: %s', async (_, text, message) => {
    const failure = load(text);
    await expect(failure).rejects.toThrow(UsageError);
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.not.toThrow('\n');
  });

  it('ends with one line when nothing is short enough, and for a missing file', async () => {
    await expect(load([{ instruction: 'Do', output: 'y' }], { ...wide, maxPromptTokens: 3 })).rejects.toThrow(
      'all 1 rows are over the limits of 3 prompt tokens or 2000 tokens',
    );
    await expect(loadExamples(path.join(root, 'none.jsonl'), characters, wide)).rejects.toThrow(
      'none.jsonl cannot be read: no such file',
    );
  });
});

const shared = new URL('../../../shared/data/', import.meta.url).pathname;
describe.skipIf(!existsSync(shared))('real files (skipped without ../shared/data)', () => {
  it.each([
    ['eval/dolly-dev-1000.jsonl', 1000],
    ['eval/dolly-test-500.jsonl', 500],
    ['eval/self-instruct-252.jsonl', 252],
    ['eval/vicuna-80.jsonl', 80],
    ['eval/vicuna-80-with-outputs.jsonl', 80],
    ['instruction-data.json', 1100],
  ])('%s', async (name, rows) => {
    const { examples, dropped } = await loadExamples(path.join(shared, name), characters, {
      maxPromptTokens: 1e6,
      maxTokens: 1e6,
      outputs: 'optional',
    });
    expect(dropped).toBe(0);
    expect(examples).toHaveLength(rows);
  });

  it('MiniLLM’s own prompt field equals our template', async () => {
    const { readJsonl } = await import('../../src/data/jsonl.js');
    const name = path.join(shared, 'eval/dolly-test-500.jsonl');
    const { examples } = await loadExamples(name, characters, { maxPromptTokens: 1e6, maxTokens: 1e6 });
    let i = 0;
    for await (const { value } of readJsonl(name)) expect(examples[i++]!.prompt).toBe(value.prompt);
    expect(i).toBe(500);
  });

  it('counts what GPT-2 drops at MiniLLM’s limits', async () => {
    const tokenizer = await loadTokenizer(path.join(shared, 'tokenizers/gpt2'));
    const limits = { maxPromptTokens: 256, maxTokens: 512 };
    const { examples, dropped } = await loadExamples(
      path.join(shared, 'eval/dolly-dev-1000.jsonl'),
      tokenizer,
      limits,
    );
    expect([examples.length, dropped]).toEqual([982, 18]);
  });
});
