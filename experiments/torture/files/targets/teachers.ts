import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Readable, Writable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { UsageError } from '../../../../src/errors.js';
import { loadModel } from '../../../../src/models/checkpoint.js';
import { integer } from '../../../../src/random/streams.js';
import { checkDistribution, namedOf, sampledOf } from '../../../../src/scoring/answers.js';
import { BadAnswer } from '../../../../src/scoring/blockingHttp.js';
import { localTeacher } from '../../../../src/scoring/localTeacher.js';
import { modelList, promptLogprobs } from '../../../../src/scoring/protocol.js';
import { RemoteTeacher } from '../../../../src/scoring/remoteTeacher.js';
import { scoringServer } from '../../../../src/scoring/server.js';
import { loadTokenizer } from '../../../../src/text/tokenizer.js';
import { pick, strings } from '../hostile.js';
import { mutateBytes, mutateJson } from '../mutate.js';
import type { Target } from '../target.js';

const VOCAB = 264;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** What one answers as a call of `BlockingHttp` does: a bad answer becomes a line that names the server. */
function answered(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof BadAnswer)) throw error;
    throw new UsageError(`teacher at here: ${error.message}`);
  }
}

const models = json({
  object: 'list',
  data: [{ id: 'm', object: 'model', max_model_len: 64, minillm: { vocab_size: VOCAB, tokenizer: 'ab' } }],
});
const sequence = { promptIds: [1, 2], responseIds: [3, 4] };
const position = (id: number) => ({
  [id]: { logprob: -1.5, rank: 2, decoded_token: 'x' },
  7: { logprob: -0.5, rank: 1, decoded_token: 'y' },
});
const completion = json({
  id: 'c',
  choices: [{ index: 0, text: '', prompt_logprobs: [null, position(2), position(3), position(4)] }],
});
const distribution = Buffer.from(Float32Array.from({ length: 2 * VOCAB }, () => -Math.log(VOCAB)).buffer);

const answers: Target = {
  name: 'teacher answers, parsed',
  weight: 39,
  open: () => (rng) => {
    const kind = rng();
    const attack = (how: string, read: () => unknown) => ({
      ...{ how, names: ['teacher at'], run: () => answered(read) },
    });
    if (kind < 0.3) {
      const { bytes, how } = mutateJson(models, rng);
      return attack(`models: ${how}`, () => modelList(bytes));
    }
    if (kind < 0.8) {
      const { bytes, how } = mutateJson(completion, rng);
      return attack(`completion: ${how}`, () => {
        const rows = promptLogprobs(bytes, 1);
        sampledOf(rows[0]!, sequence, String);
        namedOf(rows[0]!, sequence, VOCAB);
      });
    }
    const { bytes, how } = mutateBytes(distribution, rng);
    return attack(`distributions: ${how}`, () => {
      if (bytes.length !== distribution.length) throw new BadAnswer('an answer of another length');
      checkDistribution(new Float32Array(Uint8Array.from(bytes).buffer), VOCAB, sequence, String);
    });
  },
};

/** A server in a thread that answers what it is told to, since the client blocks its own. */
const liar = `
const { parentPort } = require('node:worker_threads');
let answers = {};
parentPort.on('message', (given) => { answers = given; parentPort.postMessage('ready'); });
const server = require('node:http').createServer((request, response) => {
  request.resume();
  const { status = 200, body = '' } = answers[request.url] ?? {};
  response.writeHead(status).end(Buffer.from(body));
}).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

const client: Target = {
  name: 'teacher answers over a connection',
  weight: 0.3,
  async open(world) {
    const worker = new Worker(liar, { eval: true, execArgv: [] });
    worker.unref();
    const next = (): Promise<unknown> => new Promise((done) => worker.once('message', done));
    const url = `http://127.0.0.1:${await next()}`;
    const tokenizer = await loadTokenizer(world.tokenizers[0]!);
    const whole = JSON.parse(models.toString());
    whole.data[0].minillm.tokenizer = tokenizer.fingerprint;
    return (rng) => {
      const list = rng() < 0.4 ? mutateJson(json(whole), rng) : { bytes: json(whole), how: '' };
      const said = mutateJson(completion, rng);
      const full = mutateBytes(distribution, rng);
      const status = rng() < 0.1 ? pick(rng, [100, 204, 301, 400, 401, 404, 418, 500, 503]) : 200;
      return {
        how: `models ${list.how}; completion ${said.how}; distributions ${full.how}; status ${status}`,
        names: [url, 'teacher.'],
        async run() {
          worker.postMessage({
            '/v1/models': { body: list.bytes },
            '/v1/completions': { body: said.bytes, status },
            '/minillm/v1/logprobs': { body: full.bytes, status },
          });
          await next();
          const gives = pick(rng, ['full', 'top_k', 'sampled'] as const);
          const options = {
            gives,
            topK: 2,
            batchSize: 4,
            concurrency: 2,
            retries: 0,
            timeout: 5,
            backoff: 0,
          };
          const teacher = new RemoteTeacher({ url, ...options }, tokenizer);
          try {
            if (gives === 'sampled') teacher.logprobs([sequence]);
            else teacher.distributions([sequence]);
          } finally {
            teacher.close();
          }
        },
      };
    };
  },
};

class Answer extends Writable {
  status = 0;
  headersSent = false;
  parts: Buffer[] = [];
  setHeader(): void {}
  writeHead(status: number): this {
    this.status = status;
    this.headersSent = true;
    return this;
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.parts.push(Buffer.from(chunk));
    done();
  }
}

/** One request through the server's own handler. */
async function ask(server: Server, method: string, url: string, body: Buffer): Promise<Answer> {
  const request = Object.assign(Readable.from([body], { objectMode: false }), {
    ...{ method, url, headers: {}, complete: true },
  });
  const response = new Answer();
  const over = new Promise((done) => response.once('close', done));
  server.emit('request', request as unknown as IncomingMessage, response as unknown as ServerResponse);
  await over;
  return response;
}

const requests: Target = {
  name: 'server requests',
  weight: 4,
  async open(world) {
    const model = await loadModel(world.teacher);
    const logged: string[] = [];
    const server = scoringServer({
      ...{ id: 'm', teacher: localTeacher(model), batchSize: 8, maxBody: 1 << 18 },
      ...{ tokenizer: await loadTokenizer(world.teacher), log: (line: string) => logged.push(line) },
    });
    const bodies = [
      json({
        model: 'm',
        prompt: [
          [1, 2, 3],
          [4, 5],
        ],
        max_tokens: 1,
        temperature: 0,
        prompt_logprobs: 2,
      }),
      json({ model: 'm', prompt: 'The cat', max_tokens: 0 }),
      json({ model: 'm', prompt: ['a', 'The cat is'], n: 1, echo: false, prompt_logprobs: 20 }),
      json({
        model: 'm',
        prompt: [
          [1, 2, 3],
          [4, 5],
        ],
        from: [1, 1],
      }),
    ];
    return (rng) => {
      const which = integer(rng, bodies.length);
      const { bytes, how } = mutateJson(bodies[which]!, rng);
      const url =
        rng() < 0.95 ? (which === 3 ? '/minillm/v1/logprobs' : '/v1/completions') : pick(rng, strings);
      const method = rng() < 0.97 ? 'POST' : pick(rng, ['GET', 'PUT', 'OPTIONS', '']);
      return {
        how: `${method} ${JSON.stringify(url.slice(0, 40))}: ${how}`,
        names: ['server'],
        async run() {
          logged.length = 0;
          const { status, parts } = await ask(server, method, url, bytes);
          if (status === 200) return;
          const text = Buffer.concat(parts).toString('utf8');
          if (status < 400 || status >= 500) throw new Error(`status ${status}: ${logged.join(' ')}`);
          const { message } = (JSON.parse(text) as { error: { message: string } }).error;
          throw new UsageError(`server: ${message}`);
        },
      };
    };
  },
};

export const teacherTargets: Target[] = [answers, client, requests];
