import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { PreTokenCounts, trainBpe } from '../../src/text/bpe.js';
import { loadTokenizer, tokenizerIfPresent } from '../../src/text/tokenizer.js';
import {
  endOfText,
  saveTokenizer,
  tokenizerConfigJson,
  tokenizerJson,
} from '../../src/text/tokenizer-files.js';

interface Encoding {
  text: string;
  ids: number[];
}
const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/text/encodings.json', import.meta.url), 'utf8'),
) as Record<'tinystories' | 'gpt2' | 'llama2', Encoding[]> & {
  trained: { text: string; encodings: Encoding[] };
};

const root = mkdtempSync(path.join(tmpdir(), 'minillm-tokenizer-'));
const trained = path.join(root, 'trained');
const words = new PreTokenCounts();
words.add(fixture.trained.text);
const bpe = trainBpe(words.counts, 360, [endOfText]);

beforeAll(() => saveTokenizer(trained, bpe));
afterAll(() => rmSync(root, { recursive: true }));

/** A directory with the given files, JSON unless they are text already. */
function directory(files: Record<string, unknown>): string {
  const dir = mkdtempSync(path.join(root, 'd-'));
  for (const [name, content] of Object.entries(files))
    writeFileSync(path.join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  return dir;
}

describe('a tokenizer trained here', () => {
  it('encodes like Hugging Face’s library in Python (fixture)', async () => {
    const tokenizer = await loadTokenizer(trained);
    for (const { text, ids } of fixture.trained.encodings) expect(tokenizer.encode(text), text).toEqual(ids);
  });

  it('gives every text back, and special tokens only when asked', async () => {
    const tokenizer = await loadTokenizer(trained);
    for (const { text } of fixture.trained.encodings)
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    const ids = [...tokenizer.encode('a cat .'), tokenizer.eosId];
    expect(tokenizer.decode(ids)).toBe('a cat .<|endoftext|>');
    expect(tokenizer.decode(Int32Array.from(ids), { skipSpecial: true })).toBe('a cat .');
  });

  it('has <|endoftext|> as end, beginning and padding, id 0', async () => {
    const { vocabSize, eosId, bosId, padId } = await loadTokenizer(trained);
    expect({ vocabSize, eosId, bosId, padId }).toEqual({ vocabSize: 360, eosId: 0, bosId: 0, padId: 0 });
  });

  it('gives nothing for ids that no token has', async () => {
    const tokenizer = await loadTokenizer(trained);
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([359, 360, 99_999, -1])).toBe(tokenizer.decode([359]));
  });

  it('takes the shortcut by pre-tokens to the same ids as the library alone', async () => {
    const tokenizer = await loadTokenizer(trained);
    const hub = new HubTokenizer(tokenizerJson(bpe), tokenizerConfigJson());
    const texts = [
      '  x  y ',
      "I'll\n\n\n don't",
      'a\t\tb\u00a0c \u3000',
      '<|endoftext|>the<|endoftext|> cat',
      '12 345.67',
      ' ',
      '\ud800 lone',
    ];
    for (const text of texts)
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(hub.encode(text).ids);
  });

  it('has the fingerprint of its vocabulary, whatever the other files say', async () => {
    const { fingerprint } = await loadTokenizer(trained);
    expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    const renamed = directory({ 'tokenizer.json': tokenizerJson(bpe), 'config.json': { eos_token_id: 0 } });
    expect((await loadTokenizer(renamed)).fingerprint).toBe(fingerprint);
    const other = directory({ 'tokenizer.json': tokenizerJson(trainBpe(words.counts, 359, [endOfText])) });
    expect((await loadTokenizer(other)).fingerprint).not.toBe(fingerprint);
  });
});

describe('special tokens', () => {
  const json = () => tokenizerJson(bpe);
  it.each([
    [
      'tokenizer_config.json, as a string',
      { 'tokenizer_config.json': { eos_token: 'a', pad_token: 'b' } },
      { eos: 'a', pad: 'b' },
    ],
    [
      'tokenizer_config.json, as an object',
      { 'tokenizer_config.json': { eos_token: { content: 'a' } } },
      { eos: 'a', pad: 'a' },
    ],
    ['special_tokens_map.json', { 'special_tokens_map.json': { eos_token: 'a' } }, { eos: 'a', pad: 'a' }],
    [
      'generation_config.json, a list',
      { 'generation_config.json': { eos_token_id: [65, 66], bos_token_id: 1 } },
      { eos: 65, pad: 65, bos: 1 },
    ],
    ['config.json', { 'config.json': { eos_token_id: 65 } }, { eos: 65, pad: 65 }],
    ['the name in the vocabulary alone', {}, { eos: 0, pad: 0 }],
    [
      'the first file that knows',
      { 'tokenizer_config.json': { eos_token: 'a' }, 'config.json': { eos_token_id: 5, pad_token_id: 7 } },
      { eos: 'a', pad: 7 },
    ],
  ])('come from %s', async (_, files, expected) => {
    const tokenizer = await loadTokenizer(directory({ 'tokenizer.json': json(), ...files }));
    const id = (token: string | number | undefined) =>
      typeof token === 'string' ? bpe.vocab.indexOf(token) : token;
    expect(tokenizer.eosId).toBe(id(expected.eos));
    expect(tokenizer.padId).toBe(id(expected.pad));
    expect(tokenizer.bosId).toBe(id((expected as { bos?: number }).bos));
  });
});

describe('damaged files', () => {
  const model = { type: 'BPE', vocab: { a: 0 }, merges: [] };
  const rest = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    added_tokens: [],
  };
  it.each([
    ['no tokenizer.json', {}, 'no tokenizer.json'],
    ['no JSON', { 'tokenizer.json': '{"model":' }, 'not JSON'],
    ['an array', { 'tokenizer.json': '[]' }, 'expected a JSON object'],
    ['no model', { 'tokenizer.json': '{}' }, 'no "model.vocab"'],
    [
      'a vocabulary of text',
      { 'tokenizer.json': { ...rest, model: { ...model, vocab: 'abc' } } },
      'no "model.vocab"',
    ],
    ['an empty vocabulary', { 'tokenizer.json': { ...rest, model: { ...model, vocab: {} } } }, 'empty'],
    [
      'a fractional id',
      { 'tokenizer.json': { ...rest, model: { ...model, vocab: { a: 0.5 } } } },
      'token "a" has id 0.5',
    ],
    ['a negative id', { 'tokenizer.json': { ...rest, model: { ...model, vocab: { a: -1 } } } }, 'has id -1'],
    [
      'a huge id',
      { 'tokenizer.json': { ...rest, model, added_tokens: [{ id: 4e9, content: 'x' }] } },
      'has id 4000000000',
    ],
    [
      'null among the added tokens',
      { 'tokenizer.json': { ...rest, model, added_tokens: [null] } },
      'expected a whole number',
    ],
    [
      'added tokens that are no list',
      { 'tokenizer.json': { ...rest, model, added_tokens: 3 } },
      'not a list',
    ],
    [
      'merges of a wrong type',
      { 'tokenizer.json': { ...rest, model: { ...model, merges: 5 } } },
      'not a tokenizer that can be read',
    ],
    ['no end of text', { 'tokenizer.json': { ...rest, model } }, 'eos_token'],
  ])('end with one line: %s', async (_, files, message) => {
    const failure = loadTokenizer(directory(files));
    await expect(failure).rejects.toThrow(UsageError);
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.not.toThrow('\n');
  });

  it('tokenizerIfPresent: undefined without a tokenizer.json, an error for a damaged one', async () => {
    expect(await tokenizerIfPresent(directory({}))).toBeUndefined();
    await expect(tokenizerIfPresent(directory({ 'tokenizer.json': '{}' }))).rejects.toThrow(UsageError);
  });
});

const shared = new URL('../../../shared/data/', import.meta.url).pathname;
describe.skipIf(!existsSync(shared))('real tokenizers (skipped without ../shared/data)', () => {
  it.each([
    ['tinystories', 'tinystories-656k', { vocabSize: 2048, eosId: 2, bosId: 1, padId: 0 }],
    ['gpt2', 'tokenizers/gpt2', { vocabSize: 50257, eosId: 50256, bosId: undefined, padId: 50256 }],
    ['llama2', 'tokenizers/llama2', { vocabSize: 32000, eosId: 2, bosId: 1, padId: 2 }],
  ] as const)('%s encodes as in Python', async (name, directory, expected) => {
    const tokenizer = await loadTokenizer(path.join(shared, directory));
    const { vocabSize, eosId, bosId, padId } = tokenizer;
    expect({ vocabSize, eosId, bosId, padId }).toEqual(expected);
    for (const { text, ids } of fixture[name]) expect(tokenizer.encode(text), text).toEqual(ids);
  });
});

describe('a tokenizer.json that its library accepts and then fails over', () => {
  const damaged = (change: object) =>
    directory({
      'tokenizer.json': { ...tokenizerJson(bpe), ...change },
      'tokenizer_config.json': tokenizerConfigJson(),
    });

  it('a post-processor of numbers', async () => {
    const dir = damaged({
      post_processor: { type: 'TemplateProcessing', single: [1], pair: [], special_tokens: {} },
    });
    const failed = loadTokenizer(dir);
    await expect(failed).rejects.toThrow(/tokenizer\.json: not a tokenizer that can be read \(/);
    await expect(failed).rejects.toBeInstanceOf(UsageError);
  });

  it.each([
    ['a word', 'hasOwnProperty', '"hasOwnProperty"'],
    ['nothing', undefined, 'nothing'],
    ['a number in its place', { Regex: 7 }, '{"Regex":7}'],
  ])('a split by %s is refused, not left out', async (_, pattern, shown) => {
    const split = { type: 'Split', pattern, behavior: 'Isolated', invert: false };
    const dir = damaged({ pre_tokenizer: { type: 'Sequence', pretokenizers: [split] } });
    await expect(loadTokenizer(dir)).rejects.toThrow(
      `tokenizer.json: pre_tokenizer.pretokenizers.0: the pattern of Split is ${shown}; expected {"Regex": "…"} or {"String": "…"}`,
    );
  });

  it('a decoder that lacks a field', async () => {
    const dir = damaged({
      decoder: { type: 'Sequence', decoders: [{ type: 'Replace', pattern: 5, content: 7 }, 3] },
    });
    await expect(loadTokenizer(dir).then((t) => t.decode([1, 2]))).rejects.toBeInstanceOf(UsageError);
  });
});
