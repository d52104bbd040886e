import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { corpusChunks } from '../../src/data/corpus.js';
import { loadExamples } from '../../src/data/examples.js';
import { encodeExample } from '../../src/text/encode.js';
import { createTokenizer, type Tokenizer } from '../../src/text/tokenizer.js';
import { withoutBos } from '../../src/text/withoutBos.js';
import fixture from '../fixtures/text/surroundings.json' with { type: 'json' };
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('surroundings');
afterAll(place.remove);

const BOS = 1;
const EOS = 2;
/** Letters by themselves, with `<s>` and `</s>`; a post-processor of the given template. */
function tokenizer(template: string | undefined, settings: Record<string, unknown> = {}): Tokenizer {
  const vocab = Object.fromEntries(['<unk>', '<s>', '</s>', ...'abcde'].map((token, id) => [token, id]));
  const special = (content: string, id: number) => ({
    ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  });
  const piece = (name: string) =>
    name === 'A' ? { Sequence: { id: 'A', type_id: 0 } } : { SpecialToken: { id: name, type_id: 0 } };
  const json = {
    version: '1.0',
    ...{ truncation: null, padding: null, normalizer: null, decoder: null },
    pre_tokenizer: { type: 'Split', pattern: { Regex: '' }, behavior: 'Isolated', invert: false },
    added_tokens: [special('<s>', BOS), special('</s>', EOS)],
    post_processor: template
      ? {
          type: 'TemplateProcessing',
          single: template.split(' ').map(piece),
          pair: [],
          special_tokens: {
            '<s>': { id: '<s>', ids: [BOS], tokens: ['<s>'] },
            '</s>': { id: '</s>', ids: [EOS], tokens: ['</s>'] },
          },
        }
      : null,
    model: { type: 'BPE', unk_token: '<unk>', fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  };
  const tokenizerConfig = { bos_token: '<s>', eos_token: '</s>', ...settings };
  return createTokenizer(json, 'test', { tokenizerConfig, specialTokens: {}, idFiles: [] });
}
const [a, b, c] = [3, 4, 5];

describe('withoutBos', () => {
  it('puts nothing in front, and keeps what a text carries itself', () => {
    const t = withoutBos(tokenizer('<s> A'));
    expect(t.encode('ab')).toEqual([a, b]);
    expect(t.encode('<s>ab')).toEqual([BOS, a, b]);
    expect(encodeExample(t, 'a', 'b')).toEqual({ promptIds: [a], responseIds: [b, EOS] });
  });

  it('training documents are then joined by the end token alone', async () => {
    const file = join(place.path, 'bare.txt');
    writeFileSync(file, 'ab\n\nc\n');
    const [piece] = await corpusChunks(file, withoutBos(tokenizer('<s> A')), 5);
    expect(Array.from(piece!)).toEqual([a, b, EOS, c, EOS]);
  });
});

describe('tokens that a post-processor puts around a text', () => {
  it.each([
    ['A', []],
    ['A </s>', []],
    ['<s> A', [BOS]],
    ['<s> A </s>', [BOS]],
    [undefined, []],
  ])('%s: a prompt is open at its end, and begins with what belongs there', (template, front) => {
    const t = tokenizer(template);
    expect(t.encode('ab')).toEqual([...front, a, b]);
    expect(t.encode('')).toEqual(front);
    expect(t.encode('<s>ab')).toEqual([BOS, a, b]);
    expect(t.encode('ab', { addSpecial: false })).toEqual([a, b]);
    expect(encodeExample(t, 'a', 'b')).toEqual({ promptIds: [...front, a], responseIds: [b, EOS] });
    expect(encodeExample(t, 'a', 'b</s>').responseIds).toEqual([b, EOS]);
  });

  it('documents of a corpus: one beginning, one end each', async () => {
    const file = join(place.path, 'corpus.txt');
    writeFileSync(file, 'ab\n\n<s>c</s>\n');
    const [piece] = await corpusChunks(file, tokenizer('<s> A </s>'), 7);
    expect(Array.from(piece!)).toEqual([BOS, a, b, EOS, BOS, c, EOS]);
  });

  it('training rows: one of each, also for a prompt that carries its beginning', async () => {
    const file = join(place.path, 'rows.jsonl');
    writeFileSync(file, '{"prompt":"<s>a","output":"b"}\n{"prompt":"a","output":"b"}\n');
    const limits = { template: 'none', maxPromptTokens: 9, maxTokens: 9 } as const;
    const { examples } = await loadExamples(file, tokenizer('<s> A </s>'), limits);
    for (const { promptIds, responseIds } of examples)
      expect([...promptIds, ...responseIds]).toEqual([BOS, a, b, EOS]);
  });
});

/** `transformers` 4.57 builds `[<s>] $A [</s>]` by the two switches, whatever tokenizer.json holds; version 5 reads them no longer. */
describe('add_bos_token and add_eos_token of tokenizer_config.json', () => {
  it.each(fixture.rows)('transformers: $tokenizer_class, $template, $switches', (row) => {
    const { tokenizer_class, template, switches, ids } = row;
    const t = tokenizer(template ?? undefined, { tokenizer_class, ...switches });
    // A prompt is to be continued: what transformers puts at its end is put at the end of responses and documents.
    expect(t.encode('ab')).toEqual(ids.at(-1) === EOS ? ids.slice(0, -1) : ids);
    const { promptIds, responseIds } = encodeExample(t, 'a', 'b');
    expect([...promptIds, ...responseIds]).toEqual(ids.at(-1) === EOS ? ids : [...ids, EOS]);
  });

  it.each([
    ['<s> A', { tokenizer_class: 'LlamaTokenizerFast' }, [BOS]],
    ['<s> A', { tokenizer_class: 'PreTrainedTokenizerFast', add_bos_token: false }, [BOS]],
    [undefined, { tokenizer_class: 'GPT2Tokenizer', add_bos_token: true }, []],
  ])(
    'as tokenizer.json says without the switch and for other classes: %s with %j',
    (template, settings, front) => {
      expect(tokenizer(template, settings).encode('ab')).toEqual([...front, a, b]);
    },
  );
});
