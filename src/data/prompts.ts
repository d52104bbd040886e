import { UsageError } from '../errors.js';
import { readJsonl } from './jsonl.js';

/** A row to be continued: a text, or token ids, which need no tokenizer. */
export type PromptRow = { prompt: string; ids?: undefined } | { ids: number[]; prompt?: undefined };

/**
 * Reads rows `{"prompt":"…"}` or `{"ids":[…]}`.
 *
 * @throws UsageError for a row that is neither, for ids that are no token ids, and for a file without rows
 */
export async function readPrompts(file: string): Promise<PromptRow[]> {
  const rows: PromptRow[] = [];
  for await (const { where, value } of readJsonl(file)) {
    const { prompt, ids } = value;
    if (ids !== undefined) rows.push({ ids: tokenIds(ids, `${where}: "ids"`) });
    else if (typeof prompt === 'string' && prompt !== '') rows.push({ prompt });
    else throw new UsageError(`${where}: expected {"prompt":"…"} with some text, or {"ids":[…]}`);
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
      `${where}[${bad}]: ${JSON.stringify(value[bad])} is no token id; expected a whole number from 0`,
    );
  return value as number[];
}
