import type { Tokenizer } from './tokenizer.js';

/**
 * The tokenizer without any token in front of a text, as the official MiniLLM encodes prompts and documents. A text that
 * carries a beginning token itself, as a chat template writes it, keeps it.
 */
export function withoutBos(tokenizer: Tokenizer): Tokenizer {
  return {
    ...tokenizer,
    encode: (text, options) => tokenizer.encode(text, { ...options, addSpecial: false }),
  };
}
