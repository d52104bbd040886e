import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadExamples } from '../../src/data/examples.js';
import { UsageError } from '../../src/errors.js';
import { PreTokenCounts, trainBpe } from '../../src/text/bpe.js';
import { type ChatMessage, chatOf } from '../../src/text/chat.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { endOfText, tokenizerConfigJson, tokenizerJson } from '../../src/text/tokenizer-files.js';

const fixture = JSON.parse(readFileSync(new URL('../fixtures/text/chat.json', import.meta.url), 'utf8')) as {
  cases: { name: string; template: string; messages: ChatMessage[]; text: string }[];
};

describe('chat templates', () => {
  const special = { bos_token: '<s>', eos_token: { content: '</s>' } };

  it.each(fixture.cases.map((c, i) => [`${c.name} ${i}`, c] as const))(
    'render like transformers: %s',
    (_, { template, messages, text }) => {
      expect(chatOf({ ...special, chat_template: template }, undefined, 'here')!(messages)).toBe(text);
    },
  );

  it('chat_template.jinja comes first; of named templates the default; without any, none', () => {
    const settings = {
      ...special,
      chat_template: [
        { name: 'tool_use', template: 'tools' },
        { name: 'default', template: '{{ messages[0].content }}' },
      ],
    };
    const said = [{ role: 'user', content: 'x' }];
    expect(chatOf(settings, undefined, 'here')!(said)).toBe('x');
    expect(chatOf(settings, 'file', 'here')!(said)).toBe('file');
    expect(chatOf(special, undefined, 'here')).toBeUndefined();
  });

  it('a template that is broken or refuses the conversation is one line that says where', () => {
    const said = [{ role: 'user', content: 'x' }];
    for (const template of ['{% if %}', "{{ raise_exception('no') }}", '{{ messages.nothing() }}']) {
      const chat = chatOf({ chat_template: template }, undefined, 'dir/tokenizer.json')!;
      expect(() => chat(said)).toThrow(UsageError);
      expect(() => chat(said)).toThrow(/^dir\/tokenizer.json: its chat template fails: [^\n]+$/);
    }
  });
});

describe('a model with a chat template', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'minillm-chat-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const words = new PreTokenCounts();
  words.add('What is a cat ? It is an animal . user assistant');
  writeFileSync(
    path.join(dir, 'tokenizer.json'),
    JSON.stringify(tokenizerJson(trainBpe(words.counts, 300, [endOfText]))),
  );
  const template = fixture.cases[0]!.template;
  writeFileSync(
    path.join(dir, 'tokenizer_config.json'),
    JSON.stringify({ ...tokenizerConfigJson(), chat_template: template }),
  );
  const file = (rows: unknown[]): string => {
    const name = path.join(dir, 'rows.jsonl');
    writeFileSync(name, rows.map((row) => JSON.stringify(row)).join('\n'));
    return name;
  };
  const limits = { maxPromptTokens: 200, maxTokens: 300 };

  it('makes prompts of instructions and of conversations, whose last assistant turn is the reference', async () => {
    const tokenizer = await loadTokenizer(dir);
    const rows = file([
      { instruction: 'What is a cat?', input: '', output: 'It is an animal.' },
      {
        messages: [
          { role: 'user', content: 'What is a cat?' },
          { role: 'assistant', content: 'It is an animal.' },
        ],
      },
    ]);
    const { examples } = await loadExamples(rows, tokenizer, { ...limits, template: 'chat' });
    expect(examples[0]!.prompt).toBe('<|start|>user\nWhat is a cat?<|stop|>\n<|start|>assistant\n');
    expect(examples[1]).toEqual(examples[0]);
    const { promptIds, responseIds } = examples[0]!;
    expect(tokenizer.decode([...promptIds, ...responseIds])).toBe(
      `${examples[0]!.prompt}It is an animal.${endOfText}`,
    );
  });

  it('refuses conversations without the template, and the template without one in the tokenizer', async () => {
    const tokenizer = await loadTokenizer(dir);
    const rows = file([
      {
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content: 'y' },
        ],
      },
    ]);
    await expect(loadExamples(rows, tokenizer, limits)).rejects.toThrow(/only the template chat/);
    const { chat: _, ...plain } = tokenizer;
    await expect(loadExamples(rows, plain, { ...limits, template: 'chat' })).rejects.toThrow(
      /no chat template; choose another/,
    );
    const bad = file([{ messages: [{ role: 'user' }] }]);
    await expect(loadExamples(bad, tokenizer, { ...limits, template: 'chat' })).rejects.toThrow(
      /messages\[0\]: expected \{"role"/,
    );
  });
});
