import path from 'node:path';
import { makeDirectory, writeAtomicallySync } from '../durable.js';
import type { Bpe } from './bpe.js';

/** The one special token of the tokenizers trained here: end of text, and padding and beginning where one is needed. */
export const endOfText = '<|endoftext|>';

/** tokenizer.json of a byte-level BPE, in the layout of Hugging Face's tokenizers library (version 1.0). */
export function tokenizerJson({ vocab, merges }: Bpe): Record<string, unknown> {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: vocab.indexOf(endOfText),
        content: endOfText,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      // The older of the two spellings of a merge: every version of every library reads it.
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

export function tokenizerConfigJson(): Record<string, unknown> {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: endOfText,
    eos_token: endOfText,
    pad_token: endOfText,
    clean_up_tokenization_spaces: false,
    model_max_length: 1_000_000,
  };
}

/** Writes tokenizer.json and tokenizer_config.json into `dir`. */
export function saveTokenizer(dir: string, bpe: Bpe): void {
  makeDirectory(dir);
  writeAtomicallySync(path.join(dir, 'tokenizer.json'), `${JSON.stringify(tokenizerJson(bpe), null, 1)}\n`);
  writeAtomicallySync(
    path.join(dir, 'tokenizer_config.json'),
    `${JSON.stringify(tokenizerConfigJson(), null, 2)}\n`,
  );
}
