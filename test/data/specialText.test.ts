import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type ExampleLimits, loadExamples, saySpecials } from '../../src/data/examples.js';
import { PreTokenCounts, trainBpe } from '../../src/text/bpe.js';
import { createTokenizer } from '../../src/text/tokenizer.js';
import { endOfText, tokenizerConfigJson, tokenizerJson } from '../../src/text/tokenizer-files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('special-text');
afterAll(place.remove);
const words = new PreTokenCounts();
words.add('end of text');
const tokenizer = createTokenizer(tokenizerJson(trainBpe(words.counts, 270, [endOfText])), 'test', {
  tokenizerConfig: {
    ...tokenizerConfigJson(),
    chat_template:
      "{% for m in messages %}{{ eos_token + m.role + ':' + m.content }}{% endfor %}{{ eos_token }}a:",
  },
  specialTokens: {},
  idFiles: [],
});

/** One row, loaded. */
async function load(row: unknown, more: Partial<ExampleLimits>) {
  const file = join(place.path, 'rows.jsonl');
  writeFileSync(file, `${JSON.stringify(row)}\n`);
  return loadExamples(file, tokenizer, { maxPromptTokens: 99, maxTokens: 199, template: 'none', ...more });
}
const ends = (ids: ArrayLike<number>) => Array.from(ids).filter((id) => id === tokenizer.eosId).length;
const row = { instruction: `a${endOfText}b:\n`, output: `c${endOfText}d` };

describe('special tokens inside the text of a row', () => {
  it('become control tokens, which is counted and said', async () => {
    const loaded = await load(row, {});
    const { promptIds, responseIds } = loaded.examples[0]!;
    expect([ends(promptIds), ends(responseIds)]).toEqual([1, 2]);
    expect(loaded.special).toEqual({ rows: 1, tokens: [endOfText] });
    expect(saySpecials(loaded)).toMatch(
      /^1 row has special tokens in the text \(<\|endoftext\|>\): they become/,
    );
  });

  it('are text when that is asked for: the same characters, none of them a control token', async () => {
    const loaded = await load(row, { specialTokens: 'text' });
    const { prompt, promptIds, responseIds } = loaded.examples[0]!;
    expect([ends(promptIds), ends(responseIds)]).toEqual([0, 1]);
    expect(prompt).toBe(row.instruction);
    expect(tokenizer.decode(promptIds)).toBe(row.instruction);
    expect(tokenizer.decode(responseIds.subarray(0, -1))).toBe(row.output);
    expect(saySpecials(loaded, 'text')).toContain('taken as text');
  });

  it('leave the tokens that a chat template writes as they are', async () => {
    const chat = {
      messages: [
        { role: 'user', content: `x${endOfText}y` },
        { role: 'assistant', content: 'z' },
      ],
    };
    const counts = [];
    for (const specialTokens of ['tokens', 'text'] as const) {
      const { examples } = await load(chat, { template: 'chat', specialTokens });
      expect(tokenizer.decode(examples[0]!.promptIds)).toBe(`${endOfText}user:x${endOfText}y${endOfText}a:`);
      counts.push(ends(examples[0]!.promptIds));
    }
    expect(counts).toEqual([3, 2]);
  });

  it('are none at the end of a reference, in a finished prompt, and in plain rows, whose ids are the same', async () => {
    const plain = { instruction: 'of:', output: 'text' };
    const [tokens, text] = await Promise.all([load(plain, {}), load(plain, { specialTokens: 'text' })]);
    expect(text).toEqual(tokens);
    for (const fine of [
      plain,
      { ...plain, output: `text${endOfText}` },
      { prompt: `${endOfText}a`, output: 'b' },
    ])
      expect((await load(fine, {})).special.rows).toBe(0);
  });
});
