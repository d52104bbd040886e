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
/** Tokens listed in one answer. */
const MAX_LISTED = 1 << 20;
/** Prompts of one request. */
const MAX_PROMPTS = 4096;
/** Characters that a token stands for at most: no longer text is encoded to find that it does not fit. */
const LONGEST_TOKEN = 128;

export interface ServedRequest {
  sequences: Sequence[];
  /** Tokens listed at a position beside the prompt's own; undefined: none asked for. */
  top: number | undefined;
  maxTokens: number;
}

/** @throws Refusal unless it is a JSON object */
export function parsedBody(bytes: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
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
  const sequences = promptsOf(body.prompt, teacher, tokenizer).map((ids) => {
    // One token more, so that the state after the last is scored as well; which token stands there changes nothing.
    return { promptIds: ids.slice(0, 1), responseIds: [...ids.slice(1), ids[0]!] };
  });
  const rows = sequences.reduce((sum, s) => sum + s.responseIds.length, 0);
  if (asked !== undefined && rows * ((asked as number) + 1) > MAX_LISTED)
    throw new Refusal(400, `${rows} positions with ${asked} tokens each are too many; send fewer sequences`);
  return checked({ sequences, top: asked as number | undefined, maxTokens }, teacher);
}

/** POST /minillm/v1/logprobs: `prompt` lists of ids, `from` the first position of each whose distribution is wanted. */
export function distributionRequest(body: Record<string, unknown>, teacher: Teacher): ServedRequest {
  const prompts = promptsOf(body.prompt, teacher, undefined);
  const { from } = body;
  if (!Array.isArray(from) || from.length !== prompts.length)
    throw new Refusal(400, `from must be a list of ${prompts.length} positions, one for each prompt`);
  const sequences = prompts.map((ids, i) => {
    if (!(Number.isInteger(from[i]) && from[i] >= 1 && from[i] < ids.length))
      throw new Refusal(400, `from[${i}] must be a whole number from 1 to ${ids.length - 1}`);
    return { promptIds: ids.slice(0, from[i]), responseIds: ids.slice(from[i]) };
  });
  return checked({ sequences, top: undefined, maxTokens: 0 }, teacher);
}

function checked(request: ServedRequest, teacher: Teacher): ServedRequest {
  checkRows(
    request.sequences.reduce((sum, s) => sum + s.responseIds.length, 0),
    teacher,
  );
  return request;
}

function checkRows(rows: number, teacher: Teacher): void {
  if (rows * teacher.vocabSize <= MAX_VALUES) return;
  const most = Math.floor(MAX_VALUES / teacher.vocabSize);
  throw new Refusal(400, `${rows} positions in one request, at most ${most} fit; send fewer sequences`);
}

/** A text, texts, a list of ids or lists of ids, as OpenAI's `prompt`. */
function promptsOf(prompt: unknown, teacher: Teacher, tokenizer: Tokenizer | undefined): number[][] {
  const many: unknown[] = Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt : [prompt];
  if (many.length === 0) throw new Refusal(400, 'prompt is empty');
  if (many.length > MAX_PROMPTS)
    throw new Refusal(400, `${many.length} prompts in one request, expected at most ${MAX_PROMPTS}`);
  const room = teacher.maxPositions;
  let positions = 0;
  return many.map((one) => {
    if (typeof one === 'string' && !tokenizer)
      throw new Refusal(400, 'prompt must be lists of token ids: there is no tokenizer for text here');
    if (typeof one === 'string' && one.length > LONGEST_TOKEN * room)
      throw new Refusal(
        400,
        `a prompt of ${one.length} characters is more than the model's context of ${room}`,
      );
    const ids: unknown = typeof one === 'string' ? tokenizer!.encode(one) : one;
    if (!Array.isArray(ids)) throw new Refusal(400, 'prompt must be a text, token ids, or a list of either');
    if (ids.length === 0) throw new Refusal(400, 'a prompt has no tokens');
    if (ids.length > room)
      throw new Refusal(400, `a prompt of ${ids.length} tokens is more than the model's context of ${room}`);
    const bad = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < teacher.vocabSize));
    if (bad >= 0)
      throw new Refusal(
        400,
        `token ${bad} of a prompt is ${brief(ids[bad], 40)}, expected an id from 0 to ${teacher.vocabSize - 1}`,
      );
    if (typeof one === 'string') {
      positions += ids.length;
      checkRows(positions, teacher); // before the next text is encoded
    }
    return ids as number[];
  });
}
