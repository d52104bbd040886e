import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { PreTokenCounts, trainBpe } from '../../src/text/bpe.js';
import { encodeExample } from '../../src/text/encode.js';
import { formatPrompt } from '../../src/text/template.js';
import { createTokenizer, loadTokenizer, type Tokenizer } from '../../src/text/tokenizer.js';
import { endOfText, tokenizerConfigJson, tokenizerJson } from '../../src/text/tokenizer-files.js';

const shared = new URL('../../../shared/data/', import.meta.url).pathname;
const tinystories = path.join(shared, 'tinystories-656k');

function trained(text: string, vocabSize: number): Tokenizer {
  const words = new PreTokenCounts();
  words.add(text);
  return createTokenizer(tokenizerJson(trainBpe(words.counts, vocabSize, [endOfText])), 'test', {
    tokenizerConfig: tokenizerConfigJson(),
    specialTokens: {},
    idFiles: [],
  });
}

describe('encodeExample', () => {
  // One merge: the letters "ab" are one token, 257. In the byte alphabet a is 65, b is 66 (EOS 0, "!" 1).
  const tokenizer = trained('ab ab ab', 258);

  it('is prompt, then response and EOS', () => {
    expect(encodeExample(tokenizer, 'b\n', 'ab')).toEqual({ promptIds: [66, 199], responseIds: [257, 0] });
    expect(encodeExample(tokenizer, 'b\n', '')).toEqual({ promptIds: [66, 199], responseIds: [0] });
  });

  it('gives a token that crosses the boundary to the response', () => {
    // Apart: [b, a] and [b]; together b, ab. The common prefix is b.
    expect(tokenizer.encode('ba')).toEqual([66, 65]);
    expect(encodeExample(tokenizer, 'ba', 'b')).toEqual({ promptIds: [66], responseIds: [257, 0] });
  });

  it('the templates’ line break always cuts: byte-level prompts are the same with and without a response', () => {
    const text = readFileSync(new URL('../fixtures/text/encodings.json', import.meta.url), 'utf8');
    const other = trained(text, 600);
    for (const template of ['alpaca', 'plain'] as const)
      for (const response of ['a cat', ' a cat', '12', '…', '🙂'])
        expect(
          encodeExample(other, formatPrompt({ instruction: 'Say', input: 'x' }, template), response)
            .promptIds,
        ).toEqual(other.encode(formatPrompt({ instruction: 'Say', input: 'x' }, template)));
  });

  describe.skipIf(!existsSync(tinystories))(
    'with a tokenizer that merges across spaces (skipped without ../shared/data)',
    () => {
      it.each([
        ['Once upon a time', ', there was a cat.'],
        ['Once upon a ti', 'me, there was'],
        ['Once upon a ', 'time'],
        ['Once', ''],
        ['### Response:\n', 'The cat sat.'],
      ])('%j + %j is the joint encoding and EOS', async (prompt, response) => {
        const tokenizer = await loadTokenizer(tinystories);
        const { promptIds, responseIds } = encodeExample(tokenizer, prompt, response);
        expect([...promptIds, ...responseIds]).toEqual([...tokenizer.encode(prompt + response), 2]);
        expect(promptIds[0]).toBe(1);
        expect(promptIds).toEqual(tokenizer.encode(prompt).slice(0, promptIds.length));
      });

      it('“Once upon a ti” + “me”: the token “upon a tim” belongs to the response', async () => {
        const tokenizer = await loadTokenizer(tinystories);
        const { promptIds, responseIds } = encodeExample(tokenizer, 'Once upon a ti', 'me');
        expect(tokenizer.decode(promptIds, { skipSpecial: true })).toBe('Once ');
        expect(tokenizer.decode(responseIds, { skipSpecial: true })).toBe('upon a time');
      });
    },
  );
});
