import { UsageError } from '../errors.js';
import { conversations, isConversation, type Turns } from './conversations.js';
import { givenIds } from './givenIds.js';
import { type Item, kind, list, type Row } from './values.js';

export type { Item } from './values.js';

/**
 * Reads one row in any of the shapes that instruction data comes in:
 *
 * - `instruction`, `input`, `output` (Alpaca, MiniLLM), output a string or a list of references;
 * - `instruction`, `context`, `response` (Dolly);
 * - `prompt` without an instruction, used as it is, with `output`, `response` or `completion`;
 * - `instruction`, `instances: [{input, output}, …]` (Self-Instruct): one item each;
 * - `turns: [question, …]` (Vicuna): the first question, without a reference;
 * - `messages: [{role, content}, …]` (Hugging Face chat data): where the last turn is the assistant's, it is the reference;
 * - `prompt: [{role, content}, …]` with `completion: [{role, content}, …]` or alone (TRL's conversational forms);
 * - `prompt_ids: [id, …]` with `response_ids: [id, …]` or alone, without any of the above: tokens as they stand.
 *
 * Any of them may have `choices: [string, …]`, the answers that a classification prompt allows, the reference among them.
 *
 * @param turns of the assistant in `messages` that are references: the last (default), or every one, as an item each
 * @throws UsageError naming the place, the field, what was found and what was expected
 */
export function rowItems(row: Row, where: string, turns: Turns = 'last'): Item[] {
  return itemsOf(row, where, turns).map((item) => {
    const choices = choicesOf(row, item.outputs, where);
    return choices ? { ...item, choices } : item;
  });
}

function itemsOf(row: Row, where: string, turns: Turns): Item[] {
  if (row.instances !== undefined) {
    const instruction = text(row, 'instruction', where);
    return list(row.instances, `${where}: "instances"`, 'objects with input and output').map(
      (instance, i) => {
        const place = `${where}: instances[${i}]`;
        if (typeof instance !== 'object' || instance === null)
          throw new UsageError(`${place}: expected an object, found ${kind(instance)}`);
        return {
          instruction,
          input: optionalText(instance as Row, 'input', place),
          outputs: references(instance as Row, place),
        };
      },
    );
  }
  if (row.instruction !== undefined)
    return [
      {
        instruction: text(row, 'instruction', where),
        input: optionalText(row, row.input == null ? 'context' : 'input', where),
        outputs: references(row, where),
      },
    ];
  if (isConversation(row)) return conversations(row, where, turns, references(row, where));
  if (row.prompt !== undefined) {
    const prompt = text(row, 'prompt', where);
    return [{ instruction: prompt, input: '', prompt, outputs: references(row, where) }];
  }
  if (row.prompt_ids !== undefined && row.turns === undefined) return [givenIds(row, where)];
  if (row.turns !== undefined) {
    const question = list(row.turns, `${where}: "turns"`, 'strings')[0];
    if (typeof question !== 'string' || question === '')
      throw new UsageError(`${where}: turns[0]: expected a question, found ${kind(question)}`);
    return [{ instruction: question, input: '', outputs: [] }];
  }
  if (typeof row.text === 'string')
    throw new UsageError(
      `${where}: has "text" alone, in which nothing says where an answer begins; give it as "prompt" and "completion", or the file as data.corpus`,
    );
  const found = Object.keys(row).slice(0, 8).join(', ') || 'none';
  throw new UsageError(
    `${where}: expected a field "instruction" (or "prompt", "messages", or "turns"); its fields are: ${found}`,
  );
}

/** The references of a row, under whichever name they come. */
function references(row: Row, where: string): string[] {
  const name = ['output', 'outputs', 'response', 'completion'].find((field) => row[field] != null);
  if (name === undefined) return [];
  const value = row[name];
  if (isConversation(row) && name === 'completion' && Array.isArray(value)) return []; // turns, not texts
  if (typeof value === 'string') return [value];
  const items = list(value, `${where}: "${name}"`, 'strings');
  items.forEach((item, i) => {
    if (typeof item !== 'string')
      throw new UsageError(`${where}: ${name}[${i}]: expected a string, found ${kind(item)}`);
  });
  return items as string[];
}

function choicesOf(row: Row, outputs: readonly string[], where: string): string[] | undefined {
  if (row.choices == null) return undefined;
  const items = list(row.choices, `${where}: "choices"`, 'strings');
  if (!items.every((item): item is string => typeof item === 'string' && item !== ''))
    throw new UsageError(`${where}: "choices": expected a list of strings that are not empty`);
  if (new Set(items).size < Math.max(2, items.length))
    throw new UsageError(`${where}: "choices": expected two different answers or more`);
  if (!items.includes(outputs[0] ?? ''))
    throw new UsageError(`${where}: "choices" lack the output; expected the reference answer among them`);
  return items;
}

function text(row: Row, field: string, where: string): string {
  const value = row[field];
  if (typeof value !== 'string')
    throw new UsageError(`${where}: "${field}": expected a string, found ${kind(value)}`);
  if (value.trim() === '')
    throw new UsageError(`${where}: "${field}" is empty; give it text or remove the row`);
  return value;
}

function optionalText(row: Row, field: string, where: string): string {
  const value = row[field] ?? '';
  if (typeof value !== 'string')
    throw new UsageError(`${where}: "${field}": expected a string, found ${kind(value)}`);
  return value;
}
