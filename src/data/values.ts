import { UsageError } from '../errors.js';
import type { ChatMessage } from '../text/chat.js';

/** A row as a file gives it: whatever it may hold. */
export type Row = Record<string, unknown>;

/** What a row of instruction data says, whatever its fields are called. */
export interface Item {
  instruction: string;
  input: string;
  /** References, best first; empty when the row has none. */
  outputs: string[];
  /** The answers that a classification row chooses from. */
  choices?: string[];
  /** A finished prompt, for rows that carry one in place of an instruction. */
  prompt?: string;
  /** A conversation up to the turn that is asked for; only a chat template can make a prompt of it. */
  messages?: ChatMessage[];
  /** What it is answered with: the assistant's turn, or several with those of tools between them. Absent without a reference. */
  turns?: ChatMessage[];
  /** The last of the messages is the assistant's and to be continued. */
  begun?: true;
  /** The tokens themselves, in place of texts; no response without a reference. */
  ids?: { prompt: number[]; response: number[] };
  /** What the row gives its chat template beside the conversation. */
  template?: { tools?: unknown[]; args?: Record<string, unknown> };
}

/** @throws UsageError for what is no list, and for an empty one @param what names it @param of what it should hold */
export function list(value: unknown, what: string, of: string): unknown[] {
  if (!Array.isArray(value)) throw new UsageError(`${what}: expected a list of ${of}, found ${kind(value)}`);
  if (value.length === 0) throw new UsageError(`${what}: the list is empty; expected ${of}`);
  return value;
}

/** What a value is, in words. */
export function kind(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`;
}
