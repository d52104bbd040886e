import { brief, UsageError } from '../errors.js';
import type { ChatMessage } from '../text/chat.js';
import { chatMessages } from './conversations.js';
import { tokenSpan } from './padding.js';
import { readRows } from './rows.js';

/** A row to be continued: a text, a conversation, or token ids, which need no tokenizer. */
export interface PromptRow {
  prompt?: string;
  messages?: ChatMessage[];
  ids?: number[];
}

/**
 * Reads rows `{"prompt":"…"}`, a conversation as `{"messages":[…]}` or `{"prompt":[…]}`, or `{"ids":[…]}`. With `"attention_mask":[…]` beside the ids, as a padded
 * batch of `transformers` has it, only the ids under a 1 count.
 *
 * @throws UsageError for a row that is neither, for ids that are no token ids, and for a file without rows
 */
export async function readPrompts(file: string): Promise<PromptRow[]> {
  const rows: PromptRow[] = [];
  for await (const { where, value } of readRows(file)) {
    const { prompt, ids, messages } = value;
    if (ids !== undefined) {
      const all = tokenIds(ids, `${where}: "ids"`);
      const [from, to] = tokenSpan(value.attention_mask, all.length, where);
      if (from === to) throw new UsageError(`${where}: "attention_mask" leaves no token`);
      rows.push({ ids: all.slice(from, to) });
    } else if (messages !== undefined) rows.push({ messages: chatMessages(messages, where) });
    else if (Array.isArray(prompt)) rows.push({ messages: chatMessages(prompt, where, 'prompt') });
    else if (typeof prompt === 'string' && prompt !== '') rows.push({ prompt });
    else
      throw new UsageError(
        `${where}: expected {"prompt":"…"} with some text, {"messages":[…]} or {"ids":[…]}`,
      );
  }
  if (rows.length === 0)
    throw new UsageError(`${file}: has no rows; expected one {"prompt":"…"} or {"ids":[…]} per line`);
  return rows;
}

/** A JSON value as token ids: a list, not empty, of whole numbers from 0. @throws UsageError */
export function tokenIds(value: unknown, where: string): number[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new UsageError(`${where}: expected a list of token ids that is not empty`);
  const bad = value.findIndex((id) => !Number.isInteger(id) || id < 0 || id > 0x7fffffff);
  if (bad >= 0)
    throw new UsageError(
      `${where}[${bad}]: ${brief(value[bad])} is no token id; expected a whole number from 0`,
    );
  return value as number[];
}
