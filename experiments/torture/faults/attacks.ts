import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** What became of one connection. */
export interface Fate {
  kind: string;
  /** First status that was answered; 0 for none. */
  status: number;
  /** From its connection to its end; Infinity where it never ended. */
  seconds: number;
  /** Of these, seconds in which the server or its besieger waited for a processor that others had. */
  starved: number;
}

export interface Target {
  host: string;
  port: number;
  /** Of the server, where it can be looked at. */
  pid?: number;
  /** Ids from here on are wrong. */
  vocabSize: number;
}

/** One bad client: what it does once it is connected. It ends when the server closes, or by itself. */
interface Attack {
  /** It must be closed by the server within 30 s; others end by themselves. */
  slow: boolean;
  /** Of how many its kind is, beside the others: what costs the attacker (and this machine) much is rarer. */
  weight: number;
  /** What may be answered; 503 always may, and being closed without a word where it sends more than fits. */
  statuses: readonly number[];
  act(socket: Socket, target: Target): Promise<void>;
}

const head = (path: string, ...fields: string[]): string =>
  [`POST ${path} HTTP/1.1`, 'Host: x', ...fields, '', ''].join('\r\n');

function post(socket: Socket, path: string, body: string): void {
  socket.write(`${head(path, `Content-Length: ${Buffer.byteLength(body)}`, 'Connection: close')}${body}`);
}

/** A byte every three seconds until the server has enough of it. */
async function drip(socket: Socket, text: string): Promise<void> {
  for (let i = 0; !socket.destroyed && socket.writable; i++) {
    socket.write(text[i % text.length]!);
    await wait(3000);
  }
}

async function pour(socket: Socket, bytes: number, chunk: (n: number) => Buffer): Promise<void> {
  for (let sent = 0; sent < bytes && !socket.destroyed && socket.writable; ) {
    const part = chunk(Math.min(1 << 16, bytes - sent));
    sent += part.length;
    if (socket.write(part)) continue;
    const over = new AbortController();
    const either = ['drain', 'close'].map((event) =>
      once(socket, event, { signal: over.signal }).catch(() => {}),
    );
    await Promise.race(either);
    over.abort();
  }
}

const GIGABYTE = 2 ** 30;
const zeros = Buffer.alloc(1 << 16, '0');
const completions = '/v1/completions';
const distributions = '/minillm/v1/logprobs';
const json = (path: string, body: unknown, ...statuses: number[]): Attack => ({
  slow: false,
  weight: 4,
  statuses,
  act: async (socket) => post(socket, path, typeof body === 'string' ? body : JSON.stringify(body)),
});

export const attacks: Record<string, Attack> = {
  'says nothing': { slow: true, weight: 40, statuses: [408], act: async () => {} },
  'slow headers': {
    slow: true,
    weight: 40,
    statuses: [408],
    act: (socket) => drip(socket, 'GET / HTTP/1.1\r\nX-a: b\r\nX-c: d'),
  },
  'slow body': {
    slow: true,
    weight: 40,
    statuses: [408],
    act: (socket) => {
      socket.write(head(completions, 'Content-Length: 1000000'));
      return drip(socket, '{"prompt": [1, 2, 3, 4, 5, 6, 7, 8');
    },
  },
  'slow chunks': {
    slow: true,
    weight: 40,
    statuses: [408],
    act: (socket) => {
      socket.write(head(completions, 'Transfer-Encoding: chunked'));
      return drip(socket, '1\r\n[\r\n');
    },
  },
  'slow after an answer': {
    slow: true,
    weight: 40,
    statuses: [200],
    act: (socket) => {
      socket.write('GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n');
      return drip(socket, 'GET /v1/models HTTP/1.1\r\nX-a: b\r\nX-c: d');
    },
  },
  'a body of 1 GB': {
    slow: false,
    weight: 0.2,
    statuses: [413],
    act: (socket) => {
      socket.write(head(completions, `Content-Length: ${GIGABYTE}`));
      return pour(socket, GIGABYTE, (n) => zeros.subarray(0, n));
    },
  },
  'chunks of 1 GB': {
    slow: false,
    weight: 0.2,
    statuses: [413],
    act: (socket) => {
      socket.write(head(distributions, 'Transfer-Encoding: chunked'));
      return pour(socket, GIGABYTE, (n) =>
        Buffer.concat([Buffer.from(`${n.toString(16)}\r\n`), zeros.subarray(0, n), Buffer.from('\r\n')]),
      );
    },
  },
  'an answer that is not read': {
    slow: true,
    weight: 0.2,
    statuses: [200],
    act: (socket) => {
      socket.pause();
      const body = JSON.stringify({ prompt: new Array(64).fill(new Array(24).fill(1)), prompt_logprobs: 10 });
      for (let i = 0; i < 50; i++) socket.write(head(completions, `Content-Length: ${body.length}`) + body);
      return drip(socket, 'GET '); // one that does not read learns of the end by writing
    },
  },
  'a thousand requests in one': {
    slow: false,
    weight: 0.2,
    statuses: [200],
    act: async (socket) =>
      void socket.write(
        `${'GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(999)}GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      ),
  },
  'no JSON': json(completions, '{"prompt": [1, 2', 400),
  'nested brackets': json(completions, `{"prompt": ${'['.repeat(200_000)}${']'.repeat(200_000)}}`, 400),
  'a nested id': json(completions, `{"prompt": [1, ${'['.repeat(50_000)}${']'.repeat(50_000)}]}`, 400),
  'huge max_tokens': json(completions, { prompt: [1, 2], max_tokens: 1e9 }, 400),
  'a negative id': json(distributions, { prompt: [[1, -2]], from: [1] }, 400),
  'a huge id': json(distributions, { prompt: [[1, 2 ** 53]], from: [1] }, 400),
  'a wrong place': json(distributions, { prompt: [[1, 2]], from: [7] }, 400),
  'a long text': json(completions, { prompt: 'a'.repeat(1_000_000) }, 400),
  'many prompts': json(completions, { prompt: new Array(100_000).fill([1]) }, 400),
  'another model': json(completions, { prompt: [1], model: 'x'.repeat(100_000) }, 404),
  'no such page': json('/v1/chat/completions', {}, 404),
  'huge headers': {
    slow: false,
    weight: 0.2,
    statuses: [431],
    act: async (socket) => void socket.write(head(completions, `X-a: ${'b'.repeat(100_000)}`)),
  },
  'no HTTP': {
    slow: false,
    weight: 0.2,
    statuses: [400],
    act: async (socket) => void socket.write('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n'),
  },
};

/** One kind, by its weight. @param x in [0, 1) */
export function kindOf(x: number): string {
  const all = Object.entries(attacks);
  let left = x * all.reduce((sum, [, { weight }]) => sum + weight, 0);
  for (const [kind, { weight }] of all) {
    left -= weight;
    if (left < 0) return kind;
  }
  return all[0]![0];
}

/** Lets one bad client loose. @param patience seconds after which a connection that is still open counts as open for ever */
export async function attack(kind: string, target: Target, patience: number): Promise<Fate> {
  const socket = connect(target.port, target.host);
  let [started, starvedBefore] = [performance.now(), starvation(target.pid)];
  let status = 0;
  let text = '';
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {}); // cut off by the server: `close` follows
  socket.on('data', (part) => {
    if (status === 0) {
      text += part.toString('latin1').slice(0, 200);
      status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
    }
  });
  socket.once('connect', () => {
    [started, starvedBefore] = [performance.now(), starvation(target.pid)];
    void attacks[kind]!.act(socket, target).catch(() => {});
  });
  const timer = new AbortController();
  const ended = await Promise.race([
    closed.then(() => true),
    wait(1000 * patience, false, { signal: timer.signal }),
  ]);
  timer.abort();
  socket.destroy();
  return {
    kind,
    status,
    seconds: ended ? (performance.now() - started) / 1000 : Number.POSITIVE_INFINITY,
    starved: starvation(target.pid) - starvedBefore,
  };
}

/** Seconds that this process and another one have waited for a processor so far (Linux); 0 where it cannot be seen. */
function starvation(pid: number | undefined): number {
  return ['self', pid].reduce<number>((sum, of) => {
    try {
      return sum + Number(readFileSync(`/proc/${of}/schedstat`, 'utf8').split(' ')[1]) / 1e9;
    } catch {
      return sum;
    }
  }, 0);
}
