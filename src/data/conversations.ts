import { UsageError } from '../errors.js';
import type { ChatMessage } from '../text/chat.js';
import { type Item, kind, list, type Row } from './values.js';

/** Which of the assistant's turns in `messages` are learnt from. */
export const turnChoices = ['last', 'every'] as const;
export type Turns = (typeof turnChoices)[number];

/** Whether a row says what it says in turns. */
export function isConversation(row: Row): boolean {
  return row.messages !== undefined || Array.isArray(row.prompt);
}

/**
 * The conversations of a row, in TRL's forms (huggingface.co/docs/trl/dataset_formats):
 *
 * - `messages` (language modelling): the turns before an assistant's turn are asked, that turn is the reference. The last one
 *   alone, as TRL's distillation takes it (`DataCollatorForChatML`: all but the last message is the prompt); or every one, an item
 *   each, which learns from the tokens that its SFT learns from with `assistant_only_loss`.
 * - `prompt` and `completion` (prompt-completion): one is asked, all turns of the other are the reference.
 * - `prompt` alone (prompt-only): no reference. Where the assistant has the last turn, it is continued.
 *
 * `tools` (a list, or JSON of one) and `chat_template_kwargs` beside them go to the template.
 *
 * @param texts references of the row that are texts (`output`, `response`)
 * @throws UsageError naming the place, the field, what was found and what was expected
 */
export function conversations(row: Row, where: string, turns: Turns, texts: readonly string[]): Item[] {
  const template = templateOf(row, where);
  const items = row.messages === undefined ? prompted(row, where, texts) : whole(row, where, turns, texts);
  return items.map((item) => ({ ...item, ...(template && { template }) }));
}

function whole(row: Row, where: string, turns: Turns, texts: readonly string[]): Item[] {
  const messages = chatMessages(row.messages, where);
  const answers = [...messages.keys()].filter((i) => i > 0 && messages[i]!.role === 'assistant');
  if (turns === 'every' && answers.length > 0)
    return answers.map((i) => answered(messages.slice(0, i), [messages[i]!]));
  if (messages.at(-1)!.role !== 'assistant') return [asked(messages, texts)];
  if (messages.length === 1)
    throw new UsageError(`${where}: "messages" holds nothing that asks for an answer`);
  return [answered(messages.slice(0, -1), messages.slice(-1))];
}

function prompted(row: Row, where: string, texts: readonly string[]): Item[] {
  const prompt = chatMessages(row.prompt, where, 'prompt');
  const begun = prompt.at(-1)!.role === 'assistant';
  const given = Array.isArray(row.completion);
  if (begun && (given || texts.length > 0))
    throw new UsageError(
      `${where}: "prompt" ends with a turn of the assistant and an answer stands beside it; expected the last turn to ask`,
    );
  if (!given) return [{ ...asked(prompt, texts), ...(begun && { begun }) }];
  const completion = chatMessages(row.completion, where, 'completion');
  for (const i of [0, completion.length - 1])
    if (completion[i]!.role !== 'assistant')
      throw new UsageError(
        `${where}: completion[${i}]: expected a turn of the assistant, found role "${completion[i]!.role}"`,
      );
  return [answered(prompt, completion)];
}

function answered(messages: ChatMessage[], turns: ChatMessage[]): Item {
  return { instruction: messages.at(-1)!.content, input: '', outputs: [turns[0]!.content], messages, turns };
}

function asked(messages: ChatMessage[], texts: readonly string[]): Item {
  const turns = texts.slice(0, 1).map((content) => ({ role: 'assistant', content }));
  return {
    ...{ instruction: messages.at(-1)!.content, input: '', outputs: [...texts], messages },
    ...(turns.length > 0 && { turns }),
  };
}

/** A JSON value as a conversation. Fields that are null count as absent. @throws UsageError */
export function chatMessages(value: unknown, where: string, field = 'messages'): ChatMessage[] {
  const turns = list(value, `${where}: "${field}"`, 'objects with role and content');
  return turns.map((turn, i) => {
    const { role, content, ...rest } = (turn ?? {}) as Row;
    const more = Object.fromEntries(Object.entries(rest).filter(([, part]) => part != null));
    // A turn that calls a tool may say nothing beside it.
    const said = content ?? (more.tool_calls === undefined ? undefined : '');
    if (typeof role !== 'string' || typeof said !== 'string')
      throw new UsageError(
        `${where}: ${field}[${i}]: expected {"role":"…","content":"…"}${Array.isArray(said) ? ', content a text' : ''}`,
      );
    return { role, content: said, ...(Object.keys(more).length > 0 && { more }) };
  });
}

function templateOf(row: Row, where: string): Item['template'] {
  const tools = toolsOf(row.tools, where);
  const args = row.chat_template_kwargs ?? undefined;
  if (args !== undefined && (typeof args !== 'object' || Array.isArray(args)))
    throw new UsageError(`${where}: "chat_template_kwargs": expected an object, found ${kind(args)}`);
  if (!tools && !args) return undefined;
  return { ...(tools && { tools }), ...(args && { args: args as Row }) };
}

function toolsOf(given: unknown, where: string): unknown[] | undefined {
  let value = given ?? undefined;
  if (typeof value === 'string') {
    try {
      value = JSON.parse(value);
    } catch {
      throw new UsageError(`${where}: "tools": a text that is not JSON; expected a list of descriptions`);
    }
  }
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value))
    throw new UsageError(`${where}: "tools": expected a list of descriptions, found ${kind(value)}`);
  return value.length > 0 ? value : undefined; // templates write a heading for an empty list
}
