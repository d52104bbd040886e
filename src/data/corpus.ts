import { UsageError } from '../errors.js';
import { closed } from '../text/surroundings.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { holdsRows, readRows, textOf } from './rows.js';

/**
 * Plain text as training pieces, as in MiniLLM (LMOps, tools/process_data_pretrain.py): documents are encoded,
 * joined with EOS after each, and the stream of tokens is cut into pieces of `length`; a shorter rest is left out.
 * Documents are separated by blank lines, or are the `text` fields of rows: JSONL or
 * a JSON array, told by content, so that JSON is never trained on as if it were prose.
 *
 * The pieces are in the order of the file; the training loop decides which of them a step uses.
 *
 * @throws UsageError for a file that cannot be read, and for a text of fewer than `length` tokens
 */
export async function corpusChunks(
  file: string,
  tokenizer: Tokenizer,
  length: number,
): Promise<Int32Array[]> {
  const tokens: number[] = [];
  for await (const document of documents(file)) {
    for (const id of closed(tokenizer.encode(document), tokenizer.eosId)) tokens.push(id);
  }
  const chunks: Int32Array[] = [];
  for (let start = 0; start + length <= tokens.length; start += length)
    chunks.push(Int32Array.from(tokens.slice(start, start + length)));
  if (chunks.length === 0)
    throw new UsageError(
      `${file}: has ${tokens.length} tokens, fewer than one piece of ${length}; give more text or shorter pieces`,
    );
  return chunks;
}

async function* documents(file: string): AsyncGenerator<string> {
  if (await holdsRows(file)) {
    for await (const { where, value } of readRows(file)) {
      if (typeof value.text !== 'string')
        throw new UsageError(`${where}: expected a field "text" with the text of a document`);
      if (value.text.trim() !== '') yield value.text;
    }
    return;
  }
  for (const part of (await textOf(file)).split(/\r?\n(?:[ \t]*\r?\n)+/)) {
    const text = part.trim();
    if (text !== '') yield text;
  }
}
