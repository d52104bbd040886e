import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadExamples } from '../../src/data/examples.js';
import { UsageError } from '../../src/errors.js';
import { PreTokenCounts, trainBpe } from '../../src/text/bpe.js';
import { answerContext, type ChatMessage, chatOf } from '../../src/text/chat.js';
import { isDate, strftime } from '../../src/text/date.js';
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

/** The part of Qwen3's template that treats the last answer, shortened. */
const qwen3 =
  "{%- for message in messages %}{%- if message.role == 'user' %}{{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' }}" +
  "{%- else %}{{- '<|im_start|>assistant\n' }}{%- if loop.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}" +
  "{{- message.content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}" +
  "{{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}" +
  "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}";

describe('the context of an answer', () => {
  const said = [{ role: 'user', content: 'x' }];
  const chat = (template: string) =>
    chatOf({ eos_token: '</s>', chat_template: template }, undefined, 'here')!;
  const open = '<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n';

  it('has what the template writes before the last answer: Qwen3’s empty think block', () => {
    expect(chat(qwen3)(said)).toBe(open);
    expect(answerContext(chat(qwen3), said, {})).toBe(`${open}<think>\n\n</think>\n\n`);
    const quiet = { args: { enable_thinking: false } };
    expect(chat(qwen3)(said, quiet)).toBe(`${open}<think>\n\n</think>\n\n`);
    expect(answerContext(chat(qwen3), said, quiet)).toBe(chat(qwen3)(said, quiet));
  });

  it('is the generation prompt where the template writes nothing more, or white space, or takes no answer', () => {
    for (const { template, messages } of fixture.cases.filter(({ name }) => name !== 'state')) {
      expect(answerContext(chat(template), messages, {})).toBe(chat(template)(messages));
    }
    const refuses =
      "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no') }}{% endif %}Q{% endfor %}";
    expect(answerContext(chat(refuses), said, {})).toBe('Q');
  });

  it('refuses arguments that the template does not read, or that are ours', () => {
    expect(() => chat(qwen3)(said, { args: { enable_thinkin: false } })).toThrow(
      'here: its chat template does not read the template argument enable_thinkin',
    );
    expect(() => chat(qwen3)(said, { args: { messages: [] } })).toThrow('argument messages is not free');
  });
});

describe('a chat template with today’s date', () => {
  const chat = chatOf(
    { chat_template: "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %-d') }}" },
    undefined,
    'here',
  )!;

  it('writes the day that it is given', () => {
    expect(chat.usesDate).toBe(true);
    expect(chat([], { date: '2024-07-04' })).toBe('04 Jul 2024|Thursday, July 4');
    expect(chat([])).toContain(String(new Date().getFullYear()));
    expect(strftime('2024-12-31', '%F %y %j %a %%')).toBe('2024-12-31 24 366 Tue %');
    expect(() => strftime('2024-12-31', '%Q')).toThrow('%Q is not supported');
    expect(['2024-02-29', '2023-02-29', '2024-1-1', 'today'].map(isDate)).toEqual([
      true,
      false,
      false,
      false,
    ]);
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
    const refusing = Object.assign(
      () => {
        throw new UsageError('chat template: no');
      },
      { usesDate: false },
    );
    const two = file([{ instruction: 'a', output: 'b' }]);
    await expect(
      loadExamples(two, { ...tokenizer, chat: refusing }, { ...limits, template: 'chat' }),
    ).rejects.toThrow(/rows\.jsonl:1: chat template: no/);
    const bad = file([{ messages: [{ role: 'user' }] }]);
    await expect(loadExamples(bad, tokenizer, { ...limits, template: 'chat' })).rejects.toThrow(
      /messages\[0\]: expected \{"role"/,
    );
  });
});

describe('range in a template', () => {
  const render = (template: string) => chatOf({ chat_template: template }, undefined, 'here')!([]);

  it('counts as in Python', () => {
    expect(render('{% for i in range(3) %}{{ i }}{% endfor %}')).toBe('012');
    expect(render('{% for i in range(1, 8, 3) %}{{ i }}{% endfor %}')).toBe('147');
    expect(render('{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}|{{ range(2, 2) | length }}')).toBe(
      '321|0',
    );
  });

  it.each([
    'range(100001)',
    'range(0, 16777216)',
    'range(0, 99999999999)',
    'range(1, 2, 0)',
    'range(1, -99999999999, -1)',
  ])('is refused where it would fill the memory: %s', (call) => {
    expect(() => render(`{% for i in ${call} %}{{ i }}{% endfor %}`)).toThrow(
      'here: its chat template fails: range of more than 100000 numbers',
    );
  });

  it('only calls are meant: the words in a text stay as they are', () => {
    expect(render(`a wide range (of things) {{ 'range(3) strftime_now' }}`)).toBe(
      'a wide range (of things) range(3) strftime_now',
    );
  });
});
