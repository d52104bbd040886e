import { brief } from '../errors.js';
import { BadAnswer } from './blockingHttp.js';

/** A model as GET /v1/models lists it. vLLM says `max_model_len`; `minillm serve` says the rest. */
export interface ServedModel {
  id: string;
  maxPositions?: number;
  vocabSize?: number;
  /** Fingerprint of the tokenizer. */
  tokenizer?: string;
}

/** What a server says of one position: ln p by token id, −∞ for a probability of zero; null at the first, which nothing predicts. */
export type Position = Map<number, number> | null;

/** JSON has no number for ln 0, and vLLM writes this one. */
const CLAMPED = -9999;

/** Whether a log-probability stands for a probability of zero. */
export function isZero(logprob: number): boolean {
  return logprob <= CLAMPED;
}

type Json = Record<string, unknown>;

export function parseJson(bytes: Uint8Array): Json {
  try {
    const value: unknown = JSON.parse(asJson(new TextDecoder().decode(bytes)));
    if (typeof value === 'object' && value !== null) return value as Json;
  } catch {
    // said below
  }
  throw new BadAnswer('an answer that is no JSON object (cut off?)');
}

/** Python writes numbers that JSON lacks as bare words. Infinities become numbers too large; NaN a text, which no number is. */
function asJson(text: string): string {
  if (!/Infinity|NaN/.test(text)) return text;
  return text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (word) =>
    word.endsWith('Infinity') ? word.replace('Infinity', '1e999') : word === 'NaN' ? '"NaN"' : word,
  );
}

/** @throws BadAnswer when it is no list of models */
export function modelList(bytes: Uint8Array): ServedModel[] {
  const { data } = parseJson(bytes);
  if (!Array.isArray(data)) throw new BadAnswer('a list of models without "data"');
  return data.map((entry: Json | null): ServedModel => {
    if (typeof entry?.id !== 'string') throw new BadAnswer('a model without "id"');
    const whole = (x: unknown): x is number =>
      Number.isInteger(x) && (x as number) > 0 && (x as number) < 2 ** 31;
    const own = entry.minillm as Json | undefined;
    return {
      id: entry.id,
      ...(whole(entry.max_model_len) && { maxPositions: entry.max_model_len }),
      ...(whole(own?.vocab_size) && { vocabSize: own.vocab_size }),
      ...(typeof own?.tokenizer === 'string' && { tokenizer: own.tokenizer }),
    };
  });
}

/**
 * `prompt_logprobs` of a completion in vLLM's form: choices[i].prompt_logprobs = [null, {"id": {"logprob": x, …}, …}, …].
 *
 * @param count prompts asked about @throws BadAnswer for anything else, a NaN and a log-probability above 0 included. A
 *   probability of zero comes as −Infinity, as a number beyond those of 64 bits, as null (JavaScript), or clamped (vLLM)
 */
export function promptLogprobs(bytes: Uint8Array, count: number): Position[][] {
  const { choices } = parseJson(bytes);
  if (!Array.isArray(choices) || choices.length !== count)
    throw new BadAnswer(`${Array.isArray(choices) ? choices.length : 'no'} choices, expected ${count}`);
  const rows = new Array<Position[] | undefined>(count);
  choices.forEach((choice: Json | null, i) => {
    const list = choice?.prompt_logprobs;
    if (!Array.isArray(list))
      throw new BadAnswer('a choice without prompt_logprobs; does the server give them?');
    rows[typeof choice!.index === 'number' ? choice!.index : i] = list.map(position);
  });
  if (rows.length !== count || rows.includes(undefined)) throw new BadAnswer('choices with wrong indices');
  return rows as Position[][];
}

function position(entry: unknown): Position {
  if (entry === null) return null;
  if (typeof entry !== 'object') throw new BadAnswer('prompt_logprobs that are no objects');
  return new Map(
    Object.entries(entry as Json).map(([id, value]): [number, number] => {
      const given = typeof value === 'object' && value !== null ? (value as Json).logprob : value;
      const logprob = given === null || isZero(given as number) ? Number.NEGATIVE_INFINITY : given;
      if (!/^\d{1,9}$/.test(id)) throw new BadAnswer('a token id that is no number');
      if (typeof logprob !== 'number' || !(logprob <= 1e-4))
        throw new BadAnswer(`a log-probability of ${brief(logprob)}`);
      return [Number(id), logprob];
    }),
  );
}
