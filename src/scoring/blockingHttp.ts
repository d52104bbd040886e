import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { RunError } from '../errors.js';

/** One POST or GET, and how its answer is read. */
export interface Call<T> {
  url: string;
  headers: Record<string, string>;
  /** Sent as JSON by POST; absent: GET. */
  body?: unknown;
  /** Largest answer read. */
  maxBytes: number;
  /** @throws BadAnswer when the answer is not what was asked for; it is then asked for again, unless it is a FinalAnswer */
  read(bytes: Uint8Array): T;
}

/** A server that does not answer any more, or not with what was asked for. */
export class TeacherLost extends RunError {}

/** An answer that cannot be used. The message is a part of one line. */
export class BadAnswer extends Error {}

/** One that would come again however often it was asked for. */
export class FinalAnswer extends BadAnswer {}

export interface CallPolicy {
  concurrency: number;
  /** Tries after the first. */
  retries: number;
  /** Seconds for one try, its answer included. */
  timeout: number;
  /** Seconds before the first repetition; doubled at each, up to 30. */
  backoff: number;
  /** Told of every repetition. */
  log(line: string): void;
}

/**
 * Runs as a thread. Plain JavaScript, because a thread knows no TypeScript loader. One fetch a message, nothing decided here.
 */
const pump = `
const { workerData } = require('node:worker_threads');
const { port, bell } = workerData;
port.on('message', async ({ id, url, headers, body, timeoutMs, maxBytes }) => {
  let reply;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await fetch(url, { method: body === undefined ? 'GET' : 'POST', headers, body, redirect: 'error', signal });
    const parts = [];
    let size = 0;
    if (answer.body) for await (const part of answer.body) {
      size += part.length;
      if (size > maxBytes) throw new Error('an answer of more than ' + maxBytes + ' bytes');
      parts.push(part);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const part of parts) { bytes.set(part, at); at += part.length; }
    reply = { id, status: answer.status, retryAfter: answer.headers.get('retry-after'), bytes };
  } catch (error) {
    const timedOut = error.name === 'TimeoutError' || error.name === 'AbortError';
    const { code, message } = error.cause ?? error;
    const said = typeof code === 'string' && !code.startsWith('UND') ? code : message;
    reply = { id, error: timedOut ? 'no answer within ' + timeoutMs / 1000 + ' s' : String(said) };
  }
  port.postMessage(reply, reply.bytes ? [reply.bytes.buffer] : []);
  Atomics.add(bell, 0, 1);
  Atomics.notify(bell, 0);
});
`;

type Reply = { id: number } & (
  | { status: number; retryAfter: string | null; bytes: Uint8Array }
  | { error: string }
);

const passing = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * HTTP that the caller waits for, several requests at a time. A training step is one synchronous computation, of which the
 * teacher is a part; a thread does the waiting for the network.
 *
 * A time-out, a lost connection, the statuses 408, 425, 429 and 5xx, and an answer that cannot be read are tried again after
 * backoff · 2^n seconds times a random factor of 0.5 to 1, or after Retry-After, whichever is longer (120 s at most).
 */
export class BlockingHttp {
  private readonly bell = new Int32Array(new SharedArrayBuffer(4));
  private readonly port: MessagePort;
  private readonly worker: Worker;
  private restoreSignals: (() => void) | undefined;

  constructor(private readonly policy: CallPolicy) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.worker = new Worker(pump, {
      eval: true,
      execArgv: [],
      workerData: { port: port2, bell: this.bell },
      transferList: [port2],
    });
    this.worker.unref();
    this.port.unref();
  }

  /** The answers, in the order of the calls. @throws RunError in one line when a call fails for good */
  all<T>(calls: readonly Call<T>[]): T[] {
    try {
      return this.answers(calls);
    } finally {
      this.restoreSignals?.();
      this.restoreSignals = undefined;
    }
  }

  private answers<T>(calls: readonly Call<T>[]): T[] {
    const { concurrency, retries, timeout, log } = this.policy;
    const results = new Array<T>(calls.length);
    const waiting = calls.map((_, id) => ({ id, tries: 0, notBefore: 0 }));
    const running = new Map<number, (typeof waiting)[number]>();
    let failed: RunError | undefined;
    while (running.size > 0 || (waiting.length > 0 && !failed)) {
      const now = Date.now();
      for (let i = 0; i < waiting.length && running.size < concurrency && !failed; ) {
        const job = waiting[i]!;
        if (job.notBefore > now) i++;
        else {
          waiting.splice(i, 1);
          running.set(job.id, job);
          const { url, headers, body, maxBytes } = calls[job.id]!;
          const text = body === undefined ? undefined : JSON.stringify(body);
          this.port.postMessage({
            id: job.id,
            url,
            headers,
            body: text,
            timeoutMs: timeout * 1000,
            maxBytes,
          });
        }
      }
      const reply = this.next(running.size < concurrency ? waiting : []);
      if (!reply) continue;
      const job = running.get(reply.id)!;
      running.delete(reply.id);
      const call = calls[job.id]!;
      const outcome = outcomeOf(reply, call);
      if ('value' in outcome) {
        results[job.id] = outcome.value;
      } else if (!outcome.again || job.tries >= retries) {
        const after = job.tries > 0 ? ` (after ${job.tries + 1} tries)` : '';
        failed ??= new TeacherLost(`teacher at ${withoutSecrets(call.url)}: ${outcome.problem}${after}`);
      } else {
        const delay = this.delay(job.tries, outcome.wait);
        const again = `again in ${(delay / 1000).toFixed(1)} s (${job.tries + 1} of ${retries})`;
        log(`teacher at ${withoutSecrets(call.url)}: ${outcome.problem}; ${again}`);
        waiting.push({ ...job, tries: job.tries + 1, notBefore: Date.now() + delay });
      }
    }
    if (failed) throw failed;
    return results;
  }

  close(): void {
    void this.worker.terminate();
    this.port.close();
  }

  private delay(tries: number, wait: number): number {
    // Unseeded on purpose: clients that were sent away together must not come back together. No result depends on it.
    const own = Math.min(30, this.policy.backoff * 2 ** tries) * (0.5 + Math.random() / 2);
    return 1000 * Math.min(120, Math.max(own, wait));
  }

  /** The next answer, or nothing when a waiting call may begin before. */
  private next(waiting: readonly { notBefore: number }[]): Reply | undefined {
    const due = Math.min(...waiting.map(({ notBefore }) => notBefore));
    const seen = Atomics.load(this.bell, 0);
    const received = receiveMessageOnPort(this.port);
    if (received) return received.message as Reply;
    const wait = Math.max(1, Math.min(due - Date.now(), POLITE));
    if (Atomics.wait(this.bell, 0, seen, wait) === 'timed-out' && wait === POLITE)
      this.restoreSignals ??= letSignalsKill();
    return receiveMessageOnPort(this.port)?.message as Reply | undefined;
  }
}

/** Milliseconds without an answer after which Ctrl-C no longer waits for the end of the step. */
const POLITE = 5000;

/**
 * Who waits here runs no handler: a clean stop on Ctrl-C comes when the answer has. Where that takes long, the handlers are
 * taken off until it has come, so that a signal ends the process at once; the newest checkpoint is what is left.
 *
 * @returns puts them back
 */
function letSignalsKill(): () => void {
  const handlers = (['SIGINT', 'SIGTERM'] as const).map(
    (signal) => [signal, process.listeners(signal) as NodeJS.SignalsListener[]] as const,
  );
  for (const [signal] of handlers) process.removeAllListeners(signal);
  return () => {
    for (const [signal, listeners] of handlers)
      for (const listener of listeners) process.on(signal, listener);
  };
}

type Outcome<T> = { value: T } | { problem: string; again: boolean; wait: number };

/** What the system's names for a lost connection mean, and what to look at. */
const meanings: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there; is the server running, and are host and port right?',
  ECONNRESET: 'the connection was cut; is the server still running?',
  ENOTFOUND: 'there is no host of this name; is the address right?',
  EHOSTUNREACH: 'the host cannot be reached from here',
};

const inWords = (error: string): string => (meanings[error] ? `${meanings[error]} ${error}` : error);

function outcomeOf<T>(reply: Reply, call: Call<T>): Outcome<T> {
  if ('error' in reply) return { problem: inWords(reply.error), again: true, wait: 0 };
  const { status, bytes } = reply;
  if (status !== 200) {
    const said = errorText(bytes);
    const problem = `status ${status}${said ? `: ${said}` : ''}`;
    return { problem, again: passing.has(status), wait: secondsOf(reply.retryAfter) };
  }
  try {
    return { value: call.read(bytes) };
  } catch (error) {
    if (!(error instanceof BadAnswer)) throw error;
    return { problem: error.message, again: !(error instanceof FinalAnswer), wait: 0 };
  }
}

/** Retry-After: seconds, or a date. */
function secondsOf(header: string | null): number {
  if (header === null) return 0;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : 0;
}

/** What an error's body says, as a part of one line: it goes to a terminal, so no control characters. */
function errorText(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, 4096));
  const message = /"message"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text;
  return message
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, 200)
    .trim();
}

/** A URL as it may be shown: no user, password or query. */
export function withoutSecrets(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
