import { UsageError } from '../errors.js';
import { answerContext, answeredContext, type ChatOptions, withoutClosing } from '../text/chat.js';
import { encodeExample } from '../text/encode.js';
import { formatPrompt, type PromptFormat } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Turns } from './conversations.js';
import { type Item, rowItems } from './fields.js';
import { exampleOfIds } from './givenIds.js';
import type { JsonRow } from './jsonl.js';
import { readRows } from './rows.js';

export const specialTokenUses = ['tokens', 'text'] as const;
export type SpecialTokens = (typeof specialTokenUses)[number];

/** One instruction example, in words and in token ids. */
export interface Example {
  instruction: string;
  input: string;
  /** References; the first is the one trained on. Empty only with `outputs: 'optional'`. */
  outputs: string[];
  /** What the model is given: instruction and input in the template. */
  prompt: string;
  promptIds: Int32Array;
  /** Tokens of the first reference and EOS; empty without a reference. */
  responseIds: Int32Array;
  /** The answers that a classification prompt allows, each encoded with the prompt. */
  choices?: { text: string; promptIds: Int32Array; responseIds: Int32Array }[];
  /** With `keepRows`: the row as it was read, and where it stands. */
  row?: Record<string, unknown>;
  where?: string;
}

/** Examples by their place, wherever they are kept: an array is one such. */
export interface Examples {
  readonly length: number;
  /** The example at a place from 0; undefined beyond the last. */
  at(place: number): Example | undefined;
  /** Gives up what it holds open. */
  close?(): void;
}

/** The first examples, in memory; all of them without a count. */
export function firstExamples(examples: Examples, count = examples.length): Example[] {
  return Array.from({ length: Math.min(count, examples.length) }, (_, place) => examples.at(place)!);
}

export interface LoadedExamples<E extends Examples = Example[]> {
  examples: E;
  /** Rows over the token limits. */
  dropped: number;
  /** Rows with special tokens in their own text, and which those are. */
  special: { rows: number; tokens: string[] };
}

export interface ExampleLimits {
  template?: PromptFormat;
  /** Rows with a longer prompt are dropped (MiniLLM: 256). */
  maxPromptTokens: number;
  /** Rows with a longer prompt + response, EOS included, are dropped. */
  maxTokens: number;
  /**
   * `optional` lets rows without a reference in: enough for sampling, not for training on. `unread` does too, and no reference is too
   * long, for nothing will read it. Default `required`.
   */
  outputs?: 'required' | 'optional' | 'unread';
  /** What reads the references, for the line about a row without one; as `sft`. */
  neededBy?: string;
  /** Examples carry their rows, which rewards look at; default: they do not. */
  keepRows?: boolean;
  /** Arguments and date of a chat template. */
  chat?: ChatOptions;
  /** Which turns of the assistant in `messages` are references; default the last. */
  turns?: Turns;
  /** What becomes of special tokens inside a row's own text: control tokens (the default), or plain text. */
  specialTokens?: SpecialTokens;
}

/**
 * Loads instruction data from a JSONL file or a JSON file with one array of rows (shapes: see rowItems), formats the
 * prompts and encodes them. Rows over the token limits are dropped and counted.
 *
 * @throws UsageError for a file or row that cannot be used, without any row, or when no row is within the limits
 */
export async function loadExamples(
  file: string,
  tokenizer: Tokenizer,
  limits: ExampleLimits,
): Promise<LoadedExamples> {
  const examples: Example[] = [];
  const counted = await readExamples(file, tokenizer, limits, (example) => void examples.push(example));
  return { examples, ...counted };
}

/**
 * Goes over the examples of a file in its order, without keeping them.
 *
 * @param keep is given each that is within the limits, the row it comes from, and which item of the row it is
 * @throws UsageError as `loadExamples`
 */
export async function readExamples(
  file: string,
  tokenizer: Tokenizer,
  limits: ExampleLimits,
  keep: (example: Example, row: JsonRow, item: number) => void,
): Promise<Omit<LoadedExamples, 'examples'>> {
  let kept = 0;
  let dropped = 0;
  const special = { rows: 0, tokens: new Set<string>() };
  for await (const row of readRows(file)) {
    for (const [i, item] of rowItems(row.value, row.where, limits.turns).entries()) {
      const { example, specials } = exampleOf(item, row, tokenizer, limits);
      if (specials.length > 0) special.rows++;
      for (const token of specials) special.tokens.add(token);
      if (example) {
        kept++;
        keep(example, row, i);
      } else dropped++;
    }
  }
  if (kept === 0 && dropped === 0)
    throw new UsageError(`${file}: has no rows; expected one {"instruction", "input", "output"} per line`);
  if (kept === 0)
    throw new UsageError(
      `${file}: all ${dropped} rows are over the limits of ${limits.maxPromptTokens} prompt tokens or ${limits.maxTokens} tokens; raise the limits`,
    );
  return { dropped, special: { rows: special.rows, tokens: [...special.tokens].sort() } };
}

/** An item as an example, and its own special tokens; no example where it is over the limits. @throws UsageError */
export function exampleOf(
  item: Item,
  { where, value }: Pick<JsonRow, 'where' | 'value'>,
  tokenizer: Tokenizer,
  limits: ExampleLimits,
): { example?: Example; specials: string[] } {
  const asText = limits.specialTokens === 'text';
  const shield = (text: string) => (asText && tokenizer.special?.shield(text)) || text;
  const unshield = (text: string) => (asText && tokenizer.special?.unshield(text)) || text;
  const { instruction, input, outputs } = item;
  const reference = item.ids ? item.ids.response : outputs;
  if (reference.length === 0 && (limits.outputs ?? 'required') === 'required') {
    const why = limits.neededBy ? `, and ${limits.neededBy} needs one in every row` : '';
    const [field, as] = item.ids
      ? ['response_ids', 'a list of token ids']
      : ['output', 'a string or a list of strings'];
    throw new UsageError(`${where}: has no "${field}"${why}; expected the reference answer as ${as}`);
  }
  const from = limits.keepRows && { row: value, where };
  if (item.ids) {
    const example = exampleOfIds(item.ids, where, tokenizer);
    return { ...(within(limits, example) && { example: { ...example, ...from } }), specials: [] };
  }
  const specials = ownSpecials(item, tokenizer);
  const shielded = specials.length > 0 && asText;
  const { prompt, response } = textsOf(shieldedItem(item, shield), tokenizer, limits, where);
  const addSpecial = item.prompt !== undefined || limits.template !== 'chat';
  const asChat = { addSpecial, ...(shielded && { shielded }) };
  const encoded = (text: string) => {
    const ids = encodeExample(tokenizer, prompt, text, asChat);
    return { promptIds: Int32Array.from(ids.promptIds), responseIds: Int32Array.from(ids.responseIds) };
  };
  const { promptIds, responseIds } =
    response === undefined
      ? { promptIds: Int32Array.from(tokenizer.encode(prompt, asChat)), responseIds: new Int32Array() }
      : encoded(response);
  if (promptIds.length === 0)
    throw new UsageError(
      `${where}: the tokenizer joins the whole prompt with the answer; end the prompt with a line break`,
    );
  if (!within(limits, { promptIds, responseIds })) return { specials };
  const choices = item.choices?.map((text) => ({ text, ...encoded(shield(text)) }));
  const texts = { instruction, input, outputs, prompt: unshield(prompt) };
  return { example: { ...texts, promptIds, responseIds, ...from, ...(choices && { choices }) }, specials };
}

function within(
  { maxPromptTokens, maxTokens, outputs }: ExampleLimits,
  { promptIds, responseIds }: Pick<Example, 'promptIds' | 'responseIds'>,
): boolean {
  const longest = outputs === 'unread' ? promptIds.length : promptIds.length + responseIds.length;
  return promptIds.length <= maxPromptTokens && longest <= maxTokens;
}

/**
 * The special tokens in what a row says. A finished prompt may carry those it needs, and an end token at the end of a reference
 * is where it belongs.
 */
function ownSpecials(item: Item, { special, decode, eosId }: Tokenizer): string[] {
  if (!special) return [];
  const end = decode([eosId]);
  const open = (text: string) => (end !== '' && text.endsWith(end) ? text.slice(0, -end.length) : text);
  const asked = item.prompt !== undefined ? [] : [item.instruction, item.input];
  const said = item.messages?.map(({ content }) => content) ?? [];
  const answers = item.turns?.map(({ content }) => content) ?? [];
  return special.found([...asked, ...said, ...[...answers, ...item.outputs].map(open)].join('\n'));
}

function shieldedItem(item: Item, shield: (text: string) => string): Item {
  const shielded = (turns: Item['messages']) =>
    turns?.map((turn) => ({ ...turn, content: shield(turn.content) }));
  const [messages, turns] = [shielded(item.messages), shielded(item.turns)];
  const { instruction, input, outputs } = item;
  return {
    ...item,
    instruction: shield(instruction),
    input: shield(input),
    outputs: outputs.map(shield),
    ...(messages && { messages }),
    ...(turns && { turns }),
  };
}

/** A line where rows hold special tokens; undefined where none does. */
export function saySpecials(
  { special }: Pick<LoadedExamples, 'special'>,
  use: SpecialTokens = 'tokens',
): string | undefined {
  if (special.rows === 0) return undefined;
  const rows = special.rows === 1 ? '1 row has' : `${special.rows} rows have`;
  const what = `${rows} special tokens in the text (${special.tokens.slice(0, 5).join(', ')})`;
  return use === 'text'
    ? `${what}: taken as text`
    : `${what}: they become control tokens there; data.special_tokens=text takes them as text`;
}

/** Prompt and first reference as they are encoded; a finished prompt as it stands. */
function textsOf(
  item: Item,
  tokenizer: Tokenizer,
  limits: ExampleLimits,
  where: string,
): { prompt: string; response?: string | undefined } {
  const { template: format, chat = {} } = limits;
  const response = item.outputs[0];
  if (item.prompt !== undefined) return { prompt: item.prompt, response };
  if (item.messages && format !== 'chat')
    throw new UsageError(
      `${where}: has a conversation, which only the template chat makes a prompt of; set data.template (--template) to chat`,
    );
  if (format !== 'chat') return { prompt: formatPrompt(item, format), response };
  if (!tokenizer.chat)
    throw new UsageError(`${where}: template chat, but the tokenizer has no chat template; choose another`);
  const asked = item.messages ?? [{ role: 'user', content: formatPrompt(item, 'none') }];
  const { tools, args } = item.template ?? {};
  const options = { ...chat, ...(tools && { tools }), ...(args && { args: { ...chat.args, ...args } }) };
  try {
    if (item.turns) return answeredContext(tokenizer.chat, asked, item.turns, options);
    if (item.begun) return { prompt: withoutClosing(tokenizer.chat, asked, options) };
    return { prompt: answerContext(tokenizer.chat, asked, options), response };
  } catch (error) {
    // A template may refuse a conversation (raise_exception); it does not know which row it was.
    if (error instanceof UsageError) throw new UsageError(`${where}: ${error.message}`);
    throw error;
  }
}
