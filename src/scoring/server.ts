import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Sequence } from '../models/packed.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Connections } from './connections.js';
import { QueueFull, ScoringQueue } from './scoringQueue.js';
import { refuse, sendJson } from './serverReplies.js';
import {
  checkModel,
  completionRequest,
  distributionRequest,
  parsedBody,
  Refusal,
  type ServedRequest,
} from './serverRequests.js';
import type { Teacher } from './teacher.js';

export interface ServerOptions {
  /** Name of the model in the protocol. */
  id: string;
  teacher: Teacher;
  /** For prompts given as text, and so that clients can compare; absent: ids only. */
  tokenizer: Tokenizer | undefined;
  /** Sequences of all requests read together. */
  batchSize: number;
  /** Bytes of a request. */
  maxBody: number;
  /** Floats of distributions that all requests together may wait for, 1 GiB by default; beyond it, status 429. */
  maxValues?: number;
  /** Connections at a time, 1024 by default; beyond it the one that has been sending longest is closed. */
  maxConnections?: number;
  /** Requests that may wait for the model, 1024 by default; beyond it, status 503. */
  maxWaiting?: number;
  /** Seconds that a client has to send a request, or to take an answer, 15 by default; every MiB gives a second more. */
  seconds?: number;
  /** When given, every request must carry it as `Authorization: Bearer`. */
  apiKey?: string | undefined;
  log(line: string): void;
}

/**
 * A teacher over HTTP: GET /v1/models and POST /v1/completions in the form of OpenAI and vLLM (`prompt_logprobs`), and POST
 * /minillm/v1/logprobs, which answers with whole distributions: float32, little-endian, ln p of every wanted position and
 * token, [rows, V]. The caller listens and closes.
 */
export function scoringServer(options: ServerOptions): Server {
  const { maxConnections = 1024, maxWaiting = 1024, seconds = 15 } = options;
  const queue = new ScoringQueue(options.teacher, options.batchSize, options.maxValues ?? 1 << 28);
  const server = createServer();
  const bodyBytes = Math.max(1 << 28, 4 * options.maxBody);
  const connections = new Connections(server, { connections: maxConnections, bodyBytes, seconds });
  let waiting = 0;
  const answerOne = (request: IncomingMessage, response: ServerResponse, expecting: boolean): void => {
    const over = new AbortController();
    response.once('close', () => over.abort());
    connections.begun(request, response);
    const exchange: Exchange = {
      request,
      response,
      async body() {
        const large = `the body is larger than ${options.maxBody} bytes; send fewer sequences`;
        const tooLarge = (): Refusal => new Refusal(413, large);
        if (expecting && !isLarger(request, options.maxBody)) response.writeContinue();
        return parsedBody(await connections.body(request, options.maxBody, tooLarge));
      },
      async scored(sequences) {
        if (waiting >= maxWaiting) throw new Refusal(503, 'too many requests wait; ask again');
        if (!connections.working(request, response))
          throw new Refusal(503, 'this connection has an answer to come or to be read; ask again after it');
        waiting++;
        try {
          return await queue.submit(sequences, over.signal);
        } finally {
          waiting--;
        }
      },
      taken: () => connections.answering(request),
    };
    answer(exchange, options).catch((error: unknown) => {
      if (over.signal.aborted) return; // the client has gone
      if (response.headersSent) return void response.destroy();
      refuse(request, response, refusalOf(error, options));
    });
  };
  server.on('request', (request, response) => answerOne(request, response, false));
  server.on('checkContinue', (request, response) => answerOne(request, response, true));
  return server;
}

/** A request, and what may be asked for on its behalf. */
interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  body(): Promise<Record<string, unknown>>;
  scored(sequences: readonly Sequence[]): Promise<Float32Array[]>;
  /** The answer begins, and the client has to take it. */
  taken(): void;
}

const isLarger = (request: IncomingMessage, limit: number): boolean =>
  Number(request.headers['content-length'] ?? 0) > limit;

function refusalOf(error: unknown, { log }: ServerOptions): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof QueueFull) return new Refusal(429, 'busy with other requests; ask again');
  log(`error: ${error instanceof Error ? error.message : String(error)}`);
  return new Refusal(500, 'the server failed; see its log');
}

async function answer(exchange: Exchange, options: ServerOptions): Promise<void> {
  const { request, response } = exchange;
  const { id, teacher, tokenizer, apiKey } = options;
  if (apiKey !== undefined && !carries(request, apiKey))
    throw new Refusal(401, 'a key is needed: Authorization: Bearer …');
  const path = (request.url ?? '').split('?')[0]!;
  const route = `${request.method} ${path}`;
  if (route === 'GET /v1/models') {
    const own = { vocab_size: teacher.vocabSize, ...(tokenizer && { tokenizer: tokenizer.fingerprint }) };
    const model = {
      id,
      object: 'model',
      owned_by: 'minillm',
      max_model_len: teacher.maxPositions,
      minillm: own,
    };
    sendJson(response, 200, { object: 'list', data: [model] });
  } else if (route === 'POST /v1/completions') {
    const body = await exchange.body();
    checkModel(body, id);
    const asked = completionRequest(body, teacher, tokenizer);
    const values = await exchange.scored(asked.sequences);
    exchange.taken();
    sendJson(response, 200, completion(asked, values, options));
  } else if (route === 'POST /minillm/v1/logprobs') {
    const body = await exchange.body();
    checkModel(body, id);
    const values = await exchange.scored(distributionRequest(body, teacher).sequences);
    exchange.taken();
    const bytes = values.map((x) => Buffer.from(x.buffer, x.byteOffset, x.byteLength));
    const length = bytes.reduce((sum, part) => sum + part.length, 0);
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': length });
    for (const part of bytes) response.write(part);
    response.end();
  } else {
    throw new Refusal(
      404,
      `no such page; there are GET /v1/models, POST /v1/completions, POST /minillm/v1/logprobs`,
    );
  }
}

/** Compared by digests in constant time: how long it takes says nothing of how much of a guess was right. */
function carries(request: IncomingMessage, apiKey: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const [, given = ''] = /^Bearer +(.*)$/i.exec(request.headers.authorization ?? '') ?? [];
  return timingSafeEqual(digest(given), digest(apiKey));
}

function completion(asked: ServedRequest, values: readonly Float32Array[], options: ServerOptions): unknown {
  const { tokenizer, teacher, id } = options;
  const vocab = teacher.vocabSize;
  const decode = (token: number): string => tokenizer?.decode([token]) ?? '';
  const choices = asked.sequences.map(({ promptIds, responseIds }, index) => {
    const ids = [...Array.from(promptIds), ...Array.from(responseIds)].slice(0, -1);
    const row = (t: number): Float32Array => values[index]!.subarray(t * vocab, (t + 1) * vocab);
    const written = asked.maxTokens === 1 ? top(row(ids.length - 1), 1) : [];
    const { top: count } = asked;
    return {
      index,
      text: written.map(decode).join(''),
      finish_reason: 'length',
      logprobs: null,
      prompt_logprobs:
        count === undefined
          ? null
          : [null, ...ids.slice(1).map((token, t) => listed(row(t), token, count, decode))],
    };
  });
  const prompt = asked.sequences.reduce((sum, s) => sum + s.responseIds.length, 0);
  const completed = asked.maxTokens * choices.length;
  return {
    id: 'cmpl-minillm',
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: id,
    choices,
    usage: { prompt_tokens: prompt, completion_tokens: completed, total_tokens: prompt + completed },
  };
}

/** One position: the prompt's own token and the `count` most likely ones, each with its rank from 1. */
function listed(row: Float32Array, token: number, count: number, decode: (token: number) => string): object {
  const best = top(row, count);
  const own = row[token]!;
  const rank = row.reduce((above, x) => above + (x > own ? 1 : 0), 1);
  const entry = (id: number, place: number): [number, object] => [
    id,
    // JSON has no −∞.
    { logprob: Math.max(-1e30, Math.min(0, row[id]!)), rank: place, decoded_token: decode(id) },
  ];
  return Object.fromEntries([entry(token, rank), ...best.map((id, i) => entry(id, i + 1))]);
}

/** The most likely tokens, best first; of equals the smaller id. */
function top(row: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let id = 0; id < row.length; id++) {
    if (best.length === count && (count === 0 || !(row[id]! > row[best.at(-1)!]!))) continue;
    let at = best.length;
    while (at > 0 && row[id]! > row[best[at - 1]!]!) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}
