import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type ExampleLimits, loadExamples } from '../../src/data/examples.js';
import { readPrompts } from '../../src/data/prompts.js';
import { createTokenizer } from '../../src/text/tokenizer.js';

interface Case {
  name: string;
  template: string;
  row: Record<string, unknown>;
  prompt: number[];
  whole: number[] | null;
}
const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/text/conversations.json', import.meta.url), 'utf8'),
) as { tokenizer: Record<string, unknown>; cases: Case[] };

const root = mkdtempSync(path.join(tmpdir(), 'minillm-conversations-'));
afterAll(() => rmSync(root, { recursive: true }));
let files = 0;
const fileOf = (...rows: unknown[]): string => {
  const name = path.join(root, `${files++}.jsonl`);
  writeFileSync(name, rows.map((row) => JSON.stringify(row)).join('\n'));
  return name;
};
const tokenizerOf = (template: string) =>
  createTokenizer(fixture.tokenizer, 'fixture', {
    tokenizerConfig: { bos_token: '<|begin|>', eos_token: '<|im_end|>', chat_template: template },
    specialTokens: {},
    idFiles: [],
  });
const limits: ExampleLimits = { template: 'chat', maxPromptTokens: 1000, maxTokens: 2000 };
const load = async (template: string, row: unknown, more: Partial<ExampleLimits> = {}) =>
  (await loadExamples(fileOf(row), tokenizerOf(template), { ...limits, outputs: 'optional', ...more }))
    .examples;
const END = tokenizerOf('').eosId;
/** A response ends with its end token; what a template writes behind it nobody generates. */
const ended = (ids: readonly number[]): number[] => ids.slice(0, ids.lastIndexOf(END) + 1);
const chatml = fixture.cases[0]!.template;
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

describe('conversational rows have the ids that TRL makes of them', () => {
  it.each(fixture.cases.map((c, i) => [`${c.name} ${i}`, c] as const))(
    '%s',
    async (_, { template, row, prompt, whole }) => {
      const examples = await load(template, row);
      expect(examples).toHaveLength(1);
      const { promptIds, responseIds } = examples[0]!;
      expect(Array.from(promptIds)).toEqual(prompt);
      expect([...promptIds, ...responseIds]).toEqual(whole ? ended(whole) : prompt);
    },
  );

  it('the empty think block that a template writes itself belongs to the prompt', async () => {
    const { template, row } = fixture.cases.at(-1)!;
    const [quiet] = await load(template, row);
    const [open] = await load(template, { prompt: row.prompt, completion: row.completion });
    expect(open).toEqual(quiet);
  });
});

describe('one conversation in several forms', () => {
  const turns = [user('A?'), assistant('B.'), user('C?'), assistant('D.')];

  it('is the same example', async () => {
    const [messages] = await load(chatml, { messages: turns });
    const [completion] = await load(chatml, { prompt: turns.slice(0, 3), completion: turns.slice(3) });
    const [text] = await load(chatml, { prompt: turns.slice(0, 3), response: 'D.' });
    expect(completion).toEqual(messages);
    expect(text).toEqual(messages);
    expect(messages!.outputs).toEqual(['D.']);
  });

  it('turns every: an example for each turn of the assistant, on the tokens of its words', async () => {
    const tokenizer = tokenizerOf(chatml);
    const examples = await load(chatml, { messages: [assistant('Hi'), ...turns] }, { turns: 'every' });
    expect(examples.map(({ responseIds }) => tokenizer.decode(responseIds))).toEqual([
      'B.<|im_end|>',
      'D.<|im_end|>',
    ]);
    const [first, second] = examples;
    const begin = [...first!.promptIds, ...first!.responseIds];
    expect(Array.from(second!.promptIds.slice(0, begin.length))).toEqual(begin);
    const asked = await load(chatml, { messages: turns.slice(0, 3) }, { turns: 'every' });
    expect(asked.map(({ outputs }) => outputs)).toEqual([['B.']]);
  });

  it('fields that are null count as absent, as in a table', async () => {
    const [bare] = await load(chatml, { messages: turns });
    const padded = turns.map((turn) => ({ ...turn, tool_calls: null, name: null }));
    const [table] = await load(chatml, { messages: padded, tools: null, chat_template_kwargs: null });
    expect(table).toEqual(bare);
  });

  it('is what generate continues', async () => {
    const rows = await readPrompts(fileOf({ prompt: turns.slice(0, 3) }, { messages: turns.slice(0, 3) }));
    expect(rows[0]).toEqual(rows[1]);
  });
});

describe('a conversation that cannot be used ends with one line', () => {
  const ask = [user('A?')];
  it.each([
    [
      'an answer behind an answer',
      { prompt: [...ask, assistant('B')], completion: [assistant('C')] },
      ':1: "prompt" ends with',
    ],
    [
      'a completion that asks',
      { prompt: ask, completion: [user('B')] },
      ':1: completion[0]: expected a turn of the assistant, found role "user"',
    ],
    [
      'an empty prompt',
      { prompt: [] },
      ':1: "prompt": the list is empty; expected objects with role and content',
    ],
    [
      'parts of a picture',
      { prompt: [{ role: 'user', content: [{ type: 'image' }] }] },
      ':1: prompt[0]: expected {"role":"…","content":"…"}, content a text',
    ],
    [
      'a turn without words',
      { prompt: ask, completion: [{ role: 'assistant' }] },
      ':1: completion[0]: expected {"role"',
    ],
    ['tools that are no list', { prompt: ask, tools: 'x' }, ':1: "tools": a text that is not JSON'],
    [
      'arguments that are none',
      { prompt: ask, chat_template_kwargs: 3 },
      ':1: "chat_template_kwargs": expected an object, found a number',
    ],
    [
      'an argument that is not read',
      { prompt: ask, chat_template_kwargs: { think: 1 } },
      ':1: fixture: its chat template does not read the template argument think',
    ],
    [
      'nothing that asks',
      { messages: [assistant('B')] },
      ':1: "messages" holds nothing that asks for an answer',
    ],
    ['a text alone', { text: 'A. B.' }, ':1: has "text" alone'],
    [
      'turns for a text',
      { prompt: 'A?', completion: [assistant('B')] },
      ':1: completion[0]: expected a string, found an object',
    ],
  ])('%s', async (_, row, message) => {
    await expect(load(chatml, row)).rejects.toThrow(message);
  });

  it('without the chat template, and without the answer that a method needs', async () => {
    await expect(load(chatml, { prompt: ask }, { template: 'alpaca' })).rejects.toThrow(
      ':1: has a conversation, which only the template chat makes a prompt of',
    );
    await expect(load(chatml, { prompt: ask }, { outputs: 'required', neededBy: 'sft' })).rejects.toThrow(
      ':1: has no "output", and sft needs one in every row',
    );
  });
});
