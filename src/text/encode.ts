import { closed } from './surroundings.js';
import type { EncodeOptions, Tokenizer } from './tokenizer.js';

/**
 * Token ids of a prompt and of the response after it, as in MiniLLM (LMOps, tools/process_data_dolly.py): prompt and
 * response are encoded together, and the response is the tail of that joint encoding followed by EOS.
 *
 * Departure: the reference cuts the joint encoding at the length of the prompt's own encoding. Where a tokenizer
 * merges across the boundary these two differ before that length, and the cut would fall somewhere inside the
 * response. Here the cut is at the end of their longest common prefix, so that prompt + response is always exactly
 * the joint encoding, and the merged token belongs to the response. With a template that ends in a line break and
 * byte-level pre-tokenisation the two never differ.
 *
 * @returns promptIds (with the special tokens that belong in front, e.g. BOS) and responseIds (EOS included, once)
 */
export function encodeExample(
  tokenizer: Tokenizer,
  prompt: string,
  response: string,
  options?: EncodeOptions,
): { promptIds: number[]; responseIds: number[] } {
  const alone = tokenizer.encode(prompt, options);
  const joint = tokenizer.encode(prompt + response, options);
  let cut = 0;
  while (cut < alone.length && alone[cut] === joint[cut]) cut++;
  return { promptIds: joint.slice(0, cut), responseIds: closed(joint.slice(cut), tokenizer.eosId) };
}
