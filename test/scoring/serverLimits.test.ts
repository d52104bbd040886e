import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import type { Sequence } from '../../src/models/packed.js';
import { type ConnectionLimits, Connections } from '../../src/scoring/connections.js';
import { type ServerOptions, scoringServer } from '../../src/scoring/server.js';
import { runInProcess } from '../helpers/cli.js';

const VOCAB = 15;
let blocked = 0;
/** Uniform, at once or after a while in which nothing else goes on. */
const teacher = {
  gives: 'full' as const,
  vocabSize: VOCAB,
  maxPositions: 24,
  logprobs: () => [],
  distributions: (some: readonly Sequence[]) => {
    const until = performance.now() + blocked;
    while (performance.now() < until);
    return some.map((s) => new Float32Array(s.responseIds.length * VOCAB).fill(-Math.log(VOCAB)));
  },
  close: () => {},
};
const tokenizer = {
  fingerprint: 'x',
  encode: (text: string) => Array.from(text, () => 1),
  decode: () => 'a',
};

let server: Server;
let port: number;
async function start(change: Partial<ServerOptions> = {}): Promise<void> {
  const options = { id: 'teacher', teacher, tokenizer: tokenizer as never, batchSize: 4, maxBody: 1 << 20 };
  server = scoringServer({ ...options, seconds: 1, log: () => {}, ...change }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
}
afterEach(() => {
  blocked = 0;
  server?.closeAllConnections();
  server?.close();
});

const good = JSON.stringify({ prompt: [[1, 2, 3]], from: [1] });

/** One request on a connection of its own. */
async function ask(
  body: string | object = good,
  path = '/minillm/v1/logprobs',
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  const asked = request({ host: '127.0.0.1', port, path, method: 'POST', headers, agent: false });
  asked.end(typeof body === 'string' ? body : JSON.stringify(body));
  const [answer] = await once(asked, 'response');
  let text = '';
  for await (const part of answer.setEncoding('latin1')) text += part;
  return { status: answer.statusCode, headers: answer.headers, text };
}

interface Raw {
  socket: Socket;
  /** What came back, and after how many seconds it was closed. */
  ended: Promise<{ text: string; seconds: number }>;
}

async function raw(text = ''): Promise<Raw> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  await once(socket, 'connect');
  const started = performance.now();
  let heard = '';
  socket.on('data', (part) => {
    heard += part;
  });
  socket.on('error', () => {}); // cut off; `close` follows
  socket.write(text);
  const ended = new Promise<{ text: string; seconds: number }>((resolve) =>
    socket.once('close', () => resolve({ text: heard, seconds: (performance.now() - started) / 1000 })),
  );
  return { socket, ended };
}

const head = (...fields: string[]): string =>
  ['POST /minillm/v1/logprobs HTTP/1.1', 'Host: x', ...fields, '', ''].join('\r\n');

it.each([
  ['says nothing', '', ''],
  ['headers by drops', 'GET / HTTP/1.1\r\n', 'X: y\r\n'],
  ['a body by drops', head('Content-Length: 1000'), '{'],
  ['chunks by drops', head('Transfer-Encoding: chunked'), '1\r\n[\r\n'],
  [
    'drops after a request that was answered',
    'GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n',
    'X: y\r\n',
  ],
])('%s: closed with 408 when its time is over', async (_, first, drop) => {
  await start();
  const { socket, ended } = await raw(first);
  const timer = setInterval(() => socket.write(drop), 200);
  const { text, seconds } = await ended;
  clearInterval(timer);
  expect(text).toMatch(/HTTP\/1\.1 408 /);
  expect(seconds).toBeGreaterThan(1);
  expect(seconds).toBeLessThan(15); // 2 or 3 on a quiet machine
});

it('what was sent in time is answered, however long the model kept the process from hearing it', async () => {
  await start();
  blocked = 3500;
  const first = ask();
  await wait(100);
  blocked = 0;
  const others = await Promise.all([ask(), ask(), first]);
  expect(others.map(({ status }) => status)).toEqual([200, 200, 200]);
});

it('a request that waits long for the model is not late', async () => {
  await start({ batchSize: 1 });
  blocked = 400;
  const all = await Promise.all(Array.from({ length: 10 }, () => ask()));
  expect(all.map(({ status }) => status)).toEqual(new Array(10).fill(200));
});

it('with all places taken the one that has been sending longest goes; who sends in one piece is heard', async () => {
  await start({ maxConnections: 5, seconds: 60 });
  const slow: Raw[] = [];
  for (let i = 0; i < 5; i++) slow.push(await raw('GET / HT'));
  expect((await ask()).status).toBe(200);
  expect((await slow[0]!.ended).text).toMatch(/^HTTP\/1\.1 503 [\s\S]*Retry-After: 1/);
  expect(slow.slice(1).every(({ socket }) => !socket.destroyed)).toBe(true);
});

/** A server of which the test holds the answers. */
async function startHolding(limits: ConnectionLimits): Promise<{ answers: ServerResponse[] }> {
  const answers: ServerResponse[] = [];
  server = createServer();
  const connections = new Connections(server, limits);
  server.on('request', async (asked: IncomingMessage, response: ServerResponse) => {
    const large = (): Error => new Error('large');
    await connections.body(asked, 1 << 20, large).then(
      () => connections.working(asked, response) && answers.push(response),
      () => {},
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  return { answers };
}

it('with all places taken by requests that wait for the model, the new one is told to come again', async () => {
  const { answers } = await startHolding({ connections: 2, bodyBytes: 1 << 20, seconds: 60 });
  const taken = [ask(), ask()];
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  expect((await (await raw()).ended).text).toMatch(/^HTTP\/1\.1 503 /);
  for (const answer of answers) answer.end('x');
  expect((await Promise.all(taken)).map(({ status }) => status)).toEqual([200, 200]);
});

it('with more bytes of unfinished bodies than fit, the oldest one goes', async () => {
  const { answers } = await startHolding({ connections: 9, bodyBytes: 1000, seconds: 60 });
  const first = await raw(head('Content-Length: 2000') + 'x'.repeat(600));
  await wait(200);
  const second = await raw(head('Content-Length: 2000') + 'x'.repeat(600));
  expect((await first.ended).text).toMatch(/^HTTP\/1\.1 503 /);
  const small = ask('y'.repeat(300));
  await vi.waitFor(() => expect(answers).toHaveLength(1));
  answers[0]!.end('x');
  expect((await small).status).toBe(200);
  expect(second.socket.destroyed).toBe(false);
});

it('more requests than may wait: 503, and when', async () => {
  await start({ maxWaiting: 1, batchSize: 1 });
  blocked = 700;
  const first = ask();
  await wait(100);
  const second = await ask();
  const statuses = [(await first).status, second.status].sort();
  // The second is heard while the first is read only where the machine lets it.
  if (statuses[1] === 503) expect(second.headers['retry-after']).toBe('1');
  else expect(statuses).toEqual([200, 200]);
});

it('several requests at once on one connection: one is answered, the others come again', async () => {
  await start();
  const one = head(`Content-Length: ${good.length}`) + good;
  const { socket, ended } = await raw(one + one + one);
  await wait(500);
  socket.end();
  const statuses = [...(await ended).text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status);
  expect(statuses).toEqual(['200', '503', '503']);
});

it('a body that is too large: refused by its length before it is sent, by its bytes, and with Expect', async () => {
  await start();
  const early = await raw(head('Content-Length: 1000000000'));
  expect((await early.ended).text).toMatch(/^HTTP\/1\.1 413 [\s\S]*larger than 1048576 bytes/);
  expect((await ask(' '.repeat((1 << 20) + 1))).status).toBe(413);
  const chunked = await raw(head('Transfer-Encoding: chunked'));
  const chunk = `10000\r\n${' '.repeat(1 << 16)}\r\n`;
  for (let i = 0; i < 40 && chunked.socket.writable; i++) {
    chunked.socket.write(chunk);
    await wait(2);
  }
  expect((await chunked.ended).text).toMatch(/^HTTP\/1\.1 413 /);
  const expecting = await raw(head('Content-Length: 1000000000', 'Expect: 100-continue'));
  expect((await expecting.ended).text).toMatch(/^HTTP\/1\.1 413 /);
  const fits = await raw(head(`Content-Length: ${good.length}`, 'Expect: 100-continue', 'Connection: close'));
  fits.socket.write(good);
  expect((await fits.ended).text).toMatch(/^HTTP\/1\.1 100 [\s\S]*HTTP\/1\.1 200 /);
});

it.each<[string, object | string, RegExp]>([
  ['a nested id', `{"prompt":[1,${'['.repeat(100_000)}${']'.repeat(100_000)}]}`, /token 1 of a prompt is/],
  [
    'a text that cannot fit',
    { prompt: 'a'.repeat(1_000_000) },
    /1000000 characters is more than the model's context of 24/,
  ],
  [
    'too many prompts',
    { prompt: new Array(5000).fill([1]) },
    /5000 prompts in one request, expected at most 4096/,
  ],
  [
    'too many listed tokens',
    { prompt: new Array(4000).fill(new Array(24).fill(1)), prompt_logprobs: 20 },
    /96000 positions with 20 tokens each are too many/,
  ],
  ['max_tokens', { prompt: [1], max_tokens: 1e9 }, /max_tokens must be 0 or 1/],
])('%s: 400 in one line', async (_, body, line) => {
  await start();
  const { status, text } = await ask(body, '/v1/completions');
  expect(status).toBe(400);
  expect((JSON.parse(text) as { error: { message: string } }).error.message).toMatch(line);
});

it('a key: without it, with another or a part of it 401; before the body is read', async () => {
  await start({ apiKey: 'correct-horse' });
  for (const authorization of [
    '',
    'Bearer',
    'Bearer correct',
    'Bearer correct-horse2',
    'Basic correct-horse',
  ]) {
    const refused = await ask(good, '/minillm/v1/logprobs', { authorization });
    expect(refused).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
  }
  const large = await raw(head('Content-Length: 1000000000'));
  expect((await large.ended).text).toMatch(/^HTTP\/1\.1 401 /);
  expect((await ask(good, '/minillm/v1/logprobs', { authorization: 'Bearer correct-horse' })).status).toBe(
    200,
  );
});

it.each(['0.0.0.0', '::', '192.168.1.2', '127.0.0.1.example.org'])(
  'minillm serve --host %s wants a key',
  async (host) => {
    const { code, stderr } = await runInProcess('serve', 'absent', '--host', host);
    expect(code).toBe(2);
    expect(stderr).toBe(
      `minillm: --host ${host}: other machines could ask; put a key into an environment variable and name it with --api-key-env\n`,
    );
  },
);

it('a key that cannot stand in a header is refused at the start', async () => {
  process.env.MINILLM_TEST_KEY = 'two words';
  const { code, stderr } = await runInProcess('serve', 'absent', '--api-key-env', 'MINILLM_TEST_KEY');
  expect([code, stderr]).toEqual([
    2,
    'minillm: --api-key-env: MINILLM_TEST_KEY holds no usable key; expected visible ASCII characters without spaces\n',
  ]);
});
