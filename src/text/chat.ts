import { Template } from '@huggingface/jinja';
import { UsageError } from '../errors.js';
import { strftime, today } from './date.js';

/** One turn of a conversation, as `transformers` writes it. */
export interface ChatMessage {
  role: string;
  content: string;
  /** What else a template may read of it: `tool_calls`, `name`, `tool_call_id`, `reasoning_content`. */
  more?: Record<string, unknown>;
}

/** What a template is given beside the conversation. */
export interface ChatOptions {
  /** Variables that the template reads (Qwen3: `enable_thinking`). */
  args?: Record<string, unknown> | undefined;
  /** The day that `strftime_now` gives, YYYY-MM-DD; default today. */
  date?: string | undefined;
  /** Descriptions of functions that the assistant may call; default none. */
  tools?: readonly unknown[] | undefined;
}

/** Turns a conversation into the text that the model continues with the assistant's next turn. */
export interface Chat {
  (messages: readonly ChatMessage[], options?: ChatOptions & { closed?: boolean }): string;
  /** Whether the template writes the date: its prompts are others tomorrow unless `date` is given. */
  usesDate: boolean;
}

/**
 * What stands before the assistant's next answer, as the template itself writes a conversation that holds it. Qwen3 puts an empty
 * think block in front of the last answer, which its generation prompt alone lacks: a student trained without it would never
 * have seen the context that its answer stands in. White space alone is left to the answer.
 */
export function answerContext(chat: Chat, messages: readonly ChatMessage[], options: ChatOptions): string {
  const open = chat(messages, options);
  let whole: string;
  try {
    whole = chat([...messages, { role: 'assistant', content: PROBE }], { ...options, closed: true });
  } catch {
    return open; // a template that takes no answers has no other context
  }
  const at = whole.lastIndexOf(PROBE);
  const context = whole.slice(0, Math.max(0, at));
  return context.startsWith(open) && context.slice(open.length).trim() !== '' ? context : open;
}

/**
 * A conversation that holds its answer, cut where the answer begins, so that both parts together are what the template writes:
 *
 *     prompt    what stands before the answer (`answerContext`)
 *     response  what the template makes of the answering turns, without what it writes to close the last of them
 *
 * The end token that a response is encoded with takes the place of that closing; most templates close a turn with the end token
 * and a line break. An answer with reasoning of its own (Qwen3) begins at the generation prompt, which has no empty think block.
 * Where a template opens an answer otherwise than it writes one that is given, the words of the turns follow the opening.
 *
 * @param turns the assistant's turn that is answered with; or several, with those of tools between them
 */
export function answeredContext(
  chat: Chat,
  asked: readonly ChatMessage[],
  turns: readonly ChatMessage[],
  options: ChatOptions,
): { prompt: string; response: string } {
  const context = answerContext(chat, asked, options);
  let whole: string;
  try {
    whole = withoutClosing(chat, [...asked, ...turns], options);
  } catch (error) {
    if (turns.length > 1) throw error;
    return { prompt: context, response: turns[0]!.content }; // a template that takes no answers
  }
  const prompt = [context, chat(asked, options)].find((opening) => whole.startsWith(opening));
  if (prompt !== undefined) return { prompt, response: whole.slice(prompt.length) };
  return { prompt: context, response: turns.map(({ content }) => content).join('\n') };
}

/** A conversation as the template writes it, left open behind its last turn: what to continue where an answer has begun. */
export function withoutClosing(chat: Chat, messages: readonly ChatMessage[], options: ChatOptions): string {
  const closed = { ...options, closed: true };
  const whole = chat(messages, closed);
  const probed = chat([...messages.slice(0, -1), { role: messages.at(-1)!.role, content: PROBE }], closed);
  const closing = probed.slice(probed.lastIndexOf(PROBE) + PROBE.length);
  return closing !== '' && whole.endsWith(closing) ? whole.slice(0, -closing.length) : whole;
}

/** An answer that no conversation holds. */
const PROBE = '\uE0FF';

/** What the template gets from us; arguments of these names would be lost. */
const own = ['messages', 'add_generation_prompt', 'bos_token', 'eos_token', 'unk_token', 'pad_token'];

/**
 * The chat template of a tokenizer, as `apply_chat_template(messages, add_generation_prompt=True)` of `transformers`
 * renders it: from chat_template.jinja, else `chat_template` of tokenizer_config.json (a text, or a list of named ones of
 * which `default` counts). The text carries its own special tokens: encode it without adding any.
 *
 * @param settings tokenizer_config.json @param file content of chat_template.jinja, where there is one
 * @returns undefined where the tokenizer has no template
 * @throws UsageError, when it is used, for a template that cannot be read or refuses the conversation
 */
export function chatOf(
  settings: Record<string, unknown>,
  file: string | undefined,
  where: string,
): Chat | undefined {
  const source = file ?? named(settings.chat_template);
  if (source === undefined) return undefined;
  let template: Template | undefined;
  const chat = (
    messages: readonly ChatMessage[],
    { args = {}, date, tools, closed = false }: ChatOptions & { closed?: boolean } = {},
  ): string => {
    checkArgs(args, source, where);
    try {
      template ??= withOwnFunctions(new Template(source));
      return template.render({
        ...args,
        messages: messages.map(({ role, content, more }) => ({ ...more, role, content })),
        add_generation_prompt: !closed,
        bos_token: tokenText(settings.bos_token),
        eos_token: tokenText(settings.eos_token),
        unk_token: tokenText(settings.unk_token),
        pad_token: tokenText(settings.pad_token),
        tools: tools ?? null,
        documents: null,
        own_strftime_now: (format: string) => strftime(date ?? today(), format),
        own_range: range,
      });
    } catch (error) {
      throw new UsageError(`${where}: its chat template fails: ${(error as Error).message.split('\n')[0]}`);
    }
  };
  return Object.assign(chat, { usesDate: source.includes('strftime_now') });
}

/**
 * The template with its calls of `strftime_now` and `range` led to ours: the library declares its own, which cannot be replaced.
 * Only calls by name are changed; a text that has the word in it stays as it is.
 */
function withOwnFunctions(template: Template): Template {
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, callee } = node as { type?: unknown; callee?: { type?: unknown; value?: unknown } };
    if (
      type === 'CallExpression' &&
      callee?.type === 'Identifier' &&
      ['strftime_now', 'range'].includes(String(callee.value))
    )
      callee.value = `own_${callee.value}`;
    for (const child of Object.values(node)) visit(child);
  };
  visit(template.parsed);
  return template;
}

/** As the sandbox of `transformers` (jinja2.sandbox.MAX_RANGE): a template from a stranger must not fill the memory. */
const MAX_RANGE = 100_000;

/** Python's `range`. @throws Error where it has more than `MAX_RANGE` numbers */
function range(...args: (number | undefined)[]): number[] {
  const [start, stop, step] =
    args.length < 2 ? [0, args[0] ?? 0, 1] : [args[0] ?? 0, args[1] ?? 0, args[2] ?? 1];
  const count = Math.ceil((stop - start) / step);
  if (!(count <= MAX_RANGE)) throw new Error(`range of more than ${MAX_RANGE} numbers`);
  return Array.from({ length: Math.max(0, count) }, (_, i) => start + i * step);
}

/** An argument that the template never reads is a slip of the pen, and changes nothing without a word. */
function checkArgs(args: Record<string, unknown>, source: string, where: string): void {
  for (const name of Object.keys(args)) {
    if (own.includes(name)) throw new UsageError(`${where}: the template argument ${name} is not free`);
    if (!new RegExp(`\\b${name.replace(/\W/g, '\\$&')}\\b`).test(source))
      throw new UsageError(`${where}: its chat template does not read the template argument ${name}`);
  }
}

function named(template: unknown): string | undefined {
  if (typeof template === 'string') return template;
  if (!Array.isArray(template)) return undefined;
  const entries = template as { name?: unknown; template?: unknown }[];
  const chosen = entries.find((entry) => entry?.name === 'default') ?? entries[0];
  return typeof chosen?.template === 'string' ? chosen.template : undefined;
}

/** A special token stands as its text, or as an object with its content. */
function tokenText(token: unknown): string {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : '';
}
