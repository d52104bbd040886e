import type { IncomingMessage } from 'node:http';
import { brief } from '../errors.js';
import type { Sequence } from '../models/packed.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Teacher } from './teacher.js';

/** A request that is refused: the status and one line. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Floats of distributions that one request may ask for: 256 MiB. */
const MAX_VALUES = 1 << 26;
/** Most likely tokens a position may list, as vLLM's default. */
const MAX_TOP = 20;

export interface ServedRequest {
  sequences: Sequence[];
  /** Tokens listed at a position beside the prompt's own; undefined: none asked for. */
  top: number | undefined;
  maxTokens: number;
}

export async function readBody(request: IncomingMessage, limit: number): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > limit) throw new Refusal(413, `the body is larger than ${limit} bytes; send fewer sequences`);
    parts.push(part);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    throw new Refusal(400, 'the body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refusal(400, 'expected a JSON object');
  return value as Record<string, unknown>;
}

export function checkModel(body: Record<string, unknown>, id: string): void {
  if (body.model !== undefined && body.model !== id)
    throw new Refusal(404, `the model ${brief(body.model)} does not exist; this serves ${id}`);
}

/** POST /v1/completions: only what scoring needs; a field that would change the answer and is not done is refused. */
export function completionRequest(
  body: Record<string, unknown>,
  teacher: Teacher,
  tokenizer: Tokenizer | undefined,
): ServedRequest {
  const { max_tokens: maxTokens = 1, prompt_logprobs: top, stream, n, best_of, echo, logprobs } = body;
  if (maxTokens !== 0 && maxTokens !== 1)
    throw new Refusal(400, 'max_tokens must be 0 or 1: this server scores prompts, it does not write');
  if (body.temperature !== undefined && body.temperature !== 0 && maxTokens === 1)
    throw new Refusal(400, 'temperature must be 0: the one token written is the most likely one');
  for (const [name, value, plain] of [
    ['stream', stream, false],
    ['n', n, 1],
    ['best_of', best_of, 1],
    ['echo', echo, false],
    ['logprobs', logprobs, null],
  ] as const) {
    if (value !== undefined && value !== null && value !== plain)
      throw new Refusal(400, `${name} is not supported; leave it out`);
  }
  const asked = top ?? undefined;
  if (
    asked !== undefined &&
    !(Number.isInteger(asked) && (asked as number) >= 0 && (asked as number) <= MAX_TOP)
  )
    throw new Refusal(400, `prompt_logprobs must be a whole number from 0 to ${MAX_TOP}`);
  const room = teacher.maxPositions;
  const sequences = promptsOf(body.prompt, teacher, tokenizer).map((ids) => {
    if (ids.length > room) throw tooLong(ids.length, room);
    // One token more, so that the state after the last is scored as well; which token stands there changes nothing.
    return { promptIds: ids.slice(0, 1), responseIds: [...ids.slice(1), ids[0]!] };
  });
  return checked({ sequences, top: asked as number | undefined, maxTokens }, teacher);
}

/** POST /minillm/v1/logprobs: `prompt` lists of ids, `from` the first position of each whose distribution is wanted. */
export function distributionRequest(body: Record<string, unknown>, teacher: Teacher): ServedRequest {
  const prompts = promptsOf(body.prompt, teacher, undefined);
  const { from } = body;
  if (!Array.isArray(from) || from.length !== prompts.length)
    throw new Refusal(400, `from must be a list of ${prompts.length} positions, one for each prompt`);
  const sequences = prompts.map((ids, i) => {
    if (ids.length > teacher.maxPositions) throw tooLong(ids.length, teacher.maxPositions);
    if (!(Number.isInteger(from[i]) && from[i] >= 1 && from[i] < ids.length))
      throw new Refusal(400, `from[${i}] must be a whole number from 1 to ${ids.length - 1}`);
    return { promptIds: ids.slice(0, from[i]), responseIds: ids.slice(from[i]) };
  });
  return checked({ sequences, top: undefined, maxTokens: 0 }, teacher);
}

function checked(request: ServedRequest, teacher: Teacher): ServedRequest {
  const rows = request.sequences.reduce((sum, s) => sum + s.responseIds.length, 0);
  if (rows * teacher.vocabSize > MAX_VALUES) {
    const most = Math.floor(MAX_VALUES / teacher.vocabSize);
    throw new Refusal(400, `${rows} positions in one request, at most ${most} fit; send fewer sequences`);
  }
  return request;
}

function tooLong(length: number, room: number): Refusal {
  return new Refusal(400, `a prompt of ${length} tokens is more than the model's context of ${room}`);
}

/** A text, texts, a list of ids or lists of ids, as OpenAI's `prompt`. */
function promptsOf(prompt: unknown, teacher: Teacher, tokenizer: Tokenizer | undefined): number[][] {
  const many: unknown[] = Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt : [prompt];
  if (many.length === 0) throw new Refusal(400, 'prompt is empty');
  return many.map((one) => {
    if (typeof one === 'string' && !tokenizer)
      throw new Refusal(400, 'prompt must be lists of token ids: there is no tokenizer for text here');
    const ids: unknown = typeof one === 'string' ? tokenizer!.encode(one) : one;
    if (!Array.isArray(ids)) throw new Refusal(400, 'prompt must be a text, token ids, or a list of either');
    if (ids.length === 0) throw new Refusal(400, 'a prompt has no tokens');
    const bad = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < teacher.vocabSize));
    if (bad >= 0)
      throw new Refusal(
        400,
        `token ${bad} of a prompt is ${brief(ids[bad], 40)}, expected an id from 0 to ${teacher.vocabSize - 1}`,
      );
    return ids as number[];
  });
}
