import { UsageError } from '../errors.js';
import type { ChatOptions } from '../text/chat.js';
import { today } from '../text/date.js';
import type { Tokenizer } from '../text/tokenizer.js';

/**
 * What a chat template is given on the command line. Where it writes the date, a line says which.
 *
 * @param tokenizer undefined where no chat template is used
 */
export function chatOptions(
  tokenizer: Tokenizer | undefined,
  { templateArgs, date }: { templateArgs?: Record<string, unknown>; date?: string },
  log: (line: string) => void,
): ChatOptions {
  if (!tokenizer && (templateArgs || date))
    throw new UsageError(
      `${templateArgs ? '--template-args' : '--date'}: nothing here goes through a chat template; leave it out`,
    );
  if (!tokenizer?.chat?.usesDate) return { args: templateArgs };
  const day = date ?? today();
  log(`note: the chat template writes the date: ${day} (--date)`);
  return { args: templateArgs, date: day };
}
