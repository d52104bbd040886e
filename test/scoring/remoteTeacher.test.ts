import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../src/models/checkpoint.js';
import type { Model } from '../../src/models/model.js';
import type { Sequence } from '../../src/models/packed.js';
import { localTeacher } from '../../src/scoring/localTeacher.js';
import { promptLogprobs } from '../../src/scoring/protocol.js';
import { RemoteTeacher, type RemoteTeacherOptions } from '../../src/scoring/remoteTeacher.js';
import { scoringServer } from '../../src/scoring/server.js';
import { initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer, type Tokenizer } from '../../src/text/tokenizer.js';
import { runInProcess, spawnProgram } from '../helpers/cli.js';
import {
  type FileWorld,
  worldConfig,
  writeConfig,
  writeFileWorld,
  writeTinyTokenizer,
} from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('remote');
let world: FileWorld;
let model: Model;
let tokenizer: Tokenizer;
let url: string;
let faults: string;
let served: ReturnType<typeof spawnProgram>;
let faulty: ChildProcess;

/** A port that nobody listens at: one that was just given back. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await promisify(server.close.bind(server))();
  return port;
}

const firstLine = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (part) => {
      text += part;
      if (text.includes('\n')) resolve(text);
    });
    child.once('close', () => reject(new Error(`ended: ${text}`)));
  });

beforeAll(async () => {
  world = await writeFileWorld(place.path);
  model = await loadModel(world.teacher);
  tokenizer = await loadTokenizer(world.teacher);
  served = spawnProgram('serve', world.teacher, '--port', '0', '--backend', 'wasm', '--max-body', '20000');
  url = (JSON.parse(await firstLine(served.child)) as { url: string }).url;
  const script = join(import.meta.dirname, '../helpers/faultyServer.mjs');
  faulty = spawn(process.execPath, [script, url], { stdio: ['ignore', 'pipe', 'inherit'] });
  faults = `http://127.0.0.1:${(await firstLine(faulty)).trim()}`;
}, 60_000);
afterAll(async () => {
  faulty?.kill();
  served?.child.kill('SIGKILL');
  place.remove();
});

const sequences = [
  { promptIds: [4, 5, 6], responseIds: [7, 8, 0] },
  { promptIds: [9], responseIds: [4, 4, 11, 2, 0] },
  { promptIds: [1, 12, 14], responseIds: [3] },
];

function connect(change: Partial<RemoteTeacherOptions> = {}): RemoteTeacher {
  const plain = {
    gives: 'full',
    topK: 5,
    batchSize: 2,
    concurrency: 3,
    retries: 2,
    timeout: 20,
    backoff: 0.02,
  };
  return new RemoteTeacher({ url, ...plain, ...change } as RemoteTeacherOptions, tokenizer);
}

function expectClose(actual: readonly Float32Array[], expected: readonly Float32Array[]): void {
  expect(actual.map((x) => x.length)).toEqual(expected.map((x) => x.length));
  actual.forEach((row, i) => {
    row.forEach((x, n) => {
      expect(Math.abs(x - expected[i]![n]!)).toBeLessThan(1e-4);
    });
  });
}

describe('a teacher behind minillm serve', () => {
  it('says what the local teacher says', () => {
    const remote = connect();
    const local = localTeacher(model);
    expectClose(remote.logprobs(sequences), local.logprobs(sequences));
    expectClose(remote.distributions(sequences), local.distributions(sequences));
    expect([remote.vocabSize, remote.maxPositions]).toEqual([15, 24]);
  });

  it('top_k: the named tokens have their probability, the others none', () => {
    const [row] = connect({ gives: 'top_k', topK: 3 }).distributions(sequences);
    const [whole] = localTeacher(model).distributions(sequences);
    const first = Array.from(row!.subarray(0, 15));
    const known = first.flatMap((x, v) => (x > Number.NEGATIVE_INFINITY ? [v] : []));
    const best = Array.from(whole!.subarray(0, 15), (x, v) => ({ x, v })).sort((a, b) => b.x - a.x);
    const expected = new Set([7, ...best.slice(0, 3).map(({ v }) => v)]);
    expect(known).toEqual([...expected].sort((a, b) => a - b));
    for (const v of known) expect(first[v]).toBeCloseTo(whole![v]!, 4);
  });

  it.each(['429-1', '500-2', 'cut-1', 'short-1', 'nan-1', 'positive-1'])('%s: tried again', (fault) => {
    const start = Date.now();
    expectClose(
      connect({ url: `${faults}/${fault}/` }).distributions(sequences),
      localTeacher(model).distributions(sequences),
    );
    if (fault === '429-1') expect(Date.now() - start).toBeGreaterThanOrEqual(1000); // Retry-After: 1
  });

  it('a slow answer is given up and asked for again', () => {
    const remote = connect({ url: `${faults}/slow-1`, timeout: 1.5, concurrency: 1 });
    expectClose(remote.distributions(sequences), localTeacher(model).distributions(sequences));
  });

  it.each([
    ['500-999', /\/500-999\/minillm\/v1\/logprobs: status 500: oh \[31m no \(after 2 tries\)$/],
    ['429-998', /status 429: slow\\ndown \(after 2 tries\)$/],
    ['nan-999', /a log-probability of NaN \(after 2 tries\)$/],
    ['positive-999', /a log-probability of 0\.5 \(after 2 tries\)$/],
    ['short-999', /an answer of \d+ bytes, expected \d+ \(\d+ rows of 15\) \(after 2 tries\)$/],
    ['modelsVocab-0', /an answer of \d+ bytes, expected \d+ \(\d+ rows of 16\)/],
  ])('%s for ever: one line', (fault, line) => {
    const remote = connect({ url: `${faults}/${fault}`, retries: 1 });
    expect(() => remote.distributions(sequences)).toThrow(line);
  });

  it.each([
    ['above-999', /a log-probability of 0\.5/],
    ['fewer-999', /prompt_logprobs of \d+ positions, expected \d+/],
    ['ids-999', /no log-probability of token \d+; is it the same tokenizer\?/],
    ['huge-999', /an answer of more than \d+ bytes \(after 2 tries\)$/],
    ['deep-999', /an answer that is no JSON object/],
    ['bare-999', /a choice without prompt_logprobs; does the server give them\?/],
    ['index-999', /choices with wrong indices/],
    ['null-999', /a choice without prompt_logprobs/],
  ])('prompt_logprobs, %s: one line', (fault, line) => {
    const remote = connect({ url: `${faults}/${fault}`, retries: 1 });
    expect(() => remote.logprobs(sequences)).toThrow(line);
  });

  it.each(['clamped', 'python', 'overflow', 'js'])(
    'a probability of zero (%s) is one line that names the token, and asked for once',
    (form) => {
      const lines: string[] = [];
      const remote = connect({
        batchSize: 3,
        url: `${faults}/zero_${form}-999`,
        log: (line) => lines.push(line),
      });
      expect(() => remote.logprobs(sequences)).toThrow(
        /: it gives the probability of token 0 \("<\|endoftext\|>"\) as zero, at token 3 of a response \(position 5\): there is no finite ln p/,
      );
      expect(lines).toEqual([]);
      // Of the most likely tokens one may well be impossible: the forward KL needs no ln p there.
      const [row] = connect({ url: `${faults}/zero_${form}-1.top`, gives: 'top_k', topK: 3 }).distributions(
        sequences.slice(0, 1),
      );
      expect(row!.slice(30).every((x) => x === Number.NEGATIVE_INFINITY)).toBe(true);
      expect(row!.slice(0, 30).some((x) => x > -3)).toBe(true);
    },
  );

  it('a whole distribution with a zero in it: the same line', () => {
    const remote = connect({ url: `${faults}/zero-999` });
    expect(() => remote.distributions(sequences)).toThrow(
      /: it gives the probability of token 1 \(" "\) as zero, at token 1 of a response \(position 3\)/,
    );
  });

  it('the words of Python inside a text stay what they are', () => {
    const answer = (token: string) =>
      new TextEncoder().encode(
        `{"choices":[{"prompt_logprobs":[null,{"4":{"logprob":-Infinity,"decoded_token":${JSON.stringify(token)}}}]}]}`,
      );
    for (const token of ['-Infinity', 'a "NaN" \\', ''])
      expect(promptLogprobs(answer(token), 1)).toEqual([[null, new Map([[4, Number.NEGATIVE_INFINITY]])]]);
  });

  it('named tokens of more than the whole probability are no distribution', () => {
    const remote = connect({ url: `${faults}/mass-999`, retries: 0, gives: 'top_k', topK: 3 });
    expect(() => remote.distributions(sequences)).toThrow(/probabilities that add up to [2-4]\.\d+$/);
  });

  it('every repetition is said', () => {
    const lines: string[] = [];
    const remote = connect({ url: `${faults}/500-3`, concurrency: 1, log: (line) => lines.push(line) });
    remote.logprobs(sequences);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/: status 500: oh \[31m no; again in 0\.0 s \(1 of 2\)$/);
  });

  it('what does not agree is refused at the start', async () => {
    expect(() => connect({ model: 'other' })).toThrow(/^teacher\.model: other; .* serves teacher$/);
    expect(() => connect({ url: `${faults}/modelsTokenizer-0` })).toThrow(/different tokenizers/);
    expect(() => connect({ url: `${faults}/modelsPlain-0` })).toThrow(/minillm serve only/);
    const closed = await closedPort();
    expect(() => connect({ url: `http://127.0.0.1:${closed}`, retries: 1 })).toThrow(
      /nothing listens there; is the server running, and are host and port right\? ECONNREFUSED \(after 2 tries\)$/,
    );
    writeTinyTokenizer(join(place.path, 'foreign'), 'h');
    const foreign = await loadTokenizer(join(place.path, 'foreign'));
    const options = { url: `${faults}/modelsPlain-0`, gives: 'sampled', topK: 5, batchSize: 2 } as const;
    const rest = { concurrency: 1, retries: 0, timeout: 20, backoff: 0.02 };
    expect(() => new RemoteTeacher({ ...options, ...rest }, foreign)).toThrow(/different tokenizers/);
    expect(new RemoteTeacher({ ...options, ...rest }, tokenizer).vocabSize).toBe(15);
    expect(() => connect({ apiKeyEnv: 'MINILLM_TEST_NO_SUCH_KEY' })).toThrow(/is not set$/);
  });
});

describe('minillm serve', () => {
  const post = async (path: string, body: unknown): Promise<{ status: number; message: string }> => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await fetch(url + path, { method: 'POST', body: text });
    const { error } = (await answer.json()) as { error: { message: string } };
    return { status: answer.status, message: error.message };
  };

  it.each<[string, unknown, number, RegExp]>([
    ['/v1/completions', '{', 400, /^the body is not JSON$/],
    ['/v1/completions', {}, 400, /^prompt must be/],
    ['/v1/completions', { prompt: [[1, 15]] }, 400, /token 1 of a prompt is 15, expected an id from 0 to 14/],
    ['/v1/completions', { prompt: [[]] }, 400, /no tokens/],
    ['/v1/completions', { prompt: [1], max_tokens: 2 }, 400, /^max_tokens must be 0 or 1/],
    ['/v1/completions', { prompt: [1], prompt_logprobs: 21 }, 400, /whole number from 0 to 20/],
    ['/v1/completions', { prompt: [1], model: 'x' }, 404, /does not exist/],
    [
      '/v1/completions',
      { prompt: new Array(25).fill(1) },
      400,
      /25 tokens is more than the model's context of 24/,
    ],
    ['/v1/completions', ' '.repeat(20_001), 413, /larger than 20000 bytes/],
    [
      '/minillm/v1/logprobs',
      { prompt: [[1, 2]], from: [2] },
      400,
      /^from\[0\] must be a whole number from 1 to 1$/,
    ],
    ['/nowhere', {}, 404, /no such page/],
  ])('%s %j: %i', async (path, body, status, message) => {
    const answer = await post(path, body);
    expect(answer.status).toBe(status);
    expect(answer.message).toMatch(message);
  });

  it('requests that come together are answered each with its own', async () => {
    const local = localTeacher(model);
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const sequence = { promptIds: [i % 15], responseIds: [(i + 1) % 15, (3 * i) % 15] };
        const body = { prompt: [[...sequence.promptIds, ...sequence.responseIds]], from: [1] };
        const answer = await fetch(`${url}/minillm/v1/logprobs`, {
          method: 'POST',
          body: JSON.stringify(body),
        });
        const values = new Float32Array(await answer.arrayBuffer());
        expectClose([values], local.distributions([sequence]));
      }),
    );
  });
});

describe('a server with limits', () => {
  const post = async (server: Server, tokens: number, rows = 1, signal?: AbortSignal): Promise<Response> => {
    const { port } = server.address() as AddressInfo;
    const prompt = new Array(rows).fill(new Array(tokens).fill(1));
    return fetch(`http://127.0.0.1:${port}/minillm/v1/logprobs`, {
      method: 'POST',
      body: JSON.stringify({ prompt, from: new Array(rows).fill(1) }),
      ...(signal && { signal }),
    });
  };

  /** In this process, with a teacher that says when it reads. */
  async function started(maxValues: number) {
    const read: number[] = [];
    const local = localTeacher(model);
    const teacher = {
      ...local,
      distributions: (some: readonly Sequence[]) => {
        read.push(...some.map(({ responseIds }) => responseIds.length));
        return local.distributions(some);
      },
    };
    const options = { id: 'teacher', teacher, tokenizer, batchSize: 1, maxBody: 20_000, maxValues };
    const server = scoringServer({ ...options, log: () => {} }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, read };
  }

  it('asks the clients to come back when too much is asked for at once; alone, every request is served', async () => {
    const { server } = await started(15 * 30);
    const first = post(server, 3, 200); // one after the other, and more than the limit
    await new Promise((resolve) => setTimeout(resolve, 50));
    const busy = await post(server, 3);
    expect([busy.status, busy.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await busy.json()).toMatchObject({ error: { message: 'busy with other requests; ask again' } });
    const values = new Float32Array(await (await first).arrayBuffer());
    expect(values).toHaveLength(200 * 2 * 15);
    expect((await post(server, 3)).status).toBe(200);
    server.close();
  });

  it('does not read for clients that have gone', async () => {
    const { server, read } = await started(1 << 20);
    const gone = new AbortController();
    const left = post(server, 12, 1, gone.signal).catch(() => 'gone');
    const others = [post(server, 3), post(server, 4)];
    gone.abort();
    expect(await left).toBe('gone');
    for (const other of await Promise.all(others)) expect(other.status).toBe(200);
    expect((await post(server, 5)).status).toBe(200);
    expect(read.sort()).toEqual([2, 3, 4]);
    server.close();
  });
});

describe('training with a remote teacher', () => {
  async function student(name: string, method: string, change: Record<string, unknown>, ...more: string[]) {
    const config = writeConfig(join(place.path, `${name}.yaml`), worldConfig(world, method, change));
    const out = join(place.path, name);
    const args = ['train', config, '--out', out, '--backend', 'wasm', '--quiet', ...more];
    const result = await runInProcess(...args);
    return { code: result.code, stderr: result.stderr, final: join(out, 'final') };
  }

  async function distance(a: string, b: string): Promise<number> {
    const [x, y] = [await loadModel(a), await loadModel(b)];
    const rows = Object.keys(x.params).map((name) => {
      const other = y.params[name]!.dataSync();
      return Math.max(...Array.from(x.params[name]!.dataSync(), (v, i) => Math.abs(v - other[i]!)));
    });
    return Math.max(...rows);
  }

  it.each(['minillm', 'kd', 'reverse-kd', 'gkd'])(
    '%s: the same student as with the local teacher',
    async (method) => {
      const change = { objective: { alpha: 0 }, train: { steps: 4 } };
      const local = await student(`${method}-local`, method, change);
      const remote = await student(`${method}-remote`, method, { ...change, teacher: url });
      expect([local.code, remote.code], remote.stderr).toEqual([0, 0]);
      expect(await distance(local.final, remote.final)).toBeLessThan(1e-4);
      expect(await distance(world.student, remote.final)).toBeGreaterThan(1e-2);
    },
  );

  it.each([
    ['minillm', 'gone-3-4'],
    ['distillm', 'gone-2-3'],
  ])(
    '%s: a server that goes away (%s): the last whole step is saved, and --resume ends as if nothing had been',
    async (method, fault) => {
      const change = (word: string) => ({
        objective: { alpha: 0, baseline: 'ema' },
        train: { steps: 6 },
        rollout: { inner_epochs: 1 },
        distillm: { threshold: 1 },
        checkpoint: { every: 0 },
        eval: { every: 0 },
        teacher: { url: `${faults}/${word}.${method}`, retries: 0, batch_size: 64 },
      });
      const whole = await student(`${method}-whole-run`, method, change('gone-0-0'));
      const broken = await student(`${method}-broken`, method, change(fault));
      const line =
        /^minillm: teacher at .*(closed|ECONNRESET).*; stopped after step (\d) of 6, saved; go on with --resume\n$/;
      expect([broken.code, broken.stderr]).toEqual([1, expect.stringMatching(line)]);
      expect(Number(line.exec(broken.stderr)![2])).toBeGreaterThan(0);
      const resumed = await student(`${method}-broken`, method, change(fault), '--resume');
      expect([whole.code, resumed.code], resumed.stderr).toEqual([0, 0]);
      expect(await distance(whole.final, resumed.final)).toBe(0);
    },
  );

  it('a token without probability ends a run in one line, with the last whole step saved', async () => {
    const teacher = { url: `${faults}/zero_clamped-1-999`, gives: 'sampled', batch_size: 64 };
    const change = { objective: { kd_ratio: 0 }, train: { steps: 6 }, checkpoint: { every: 0 }, teacher };
    const broken = await student('opd-zero', 'opd', { ...change, eval: { every: 0 } });
    expect(broken.code).toBe(1);
    expect(broken.stderr).toMatch(
      /^minillm: teacher at .*: it gives the probability of token \d+ \(".*"\) as zero, .*; stopped after step \d of 6, saved; go on with --resume\n$/,
    );
  });

  it('opd from sampled tokens alone: the same student as with whole distributions', async () => {
    const change = { objective: { kd_ratio: 0 }, train: { steps: 4 } };
    const local = await student('opd-local', 'opd', change);
    const remote = await student('opd-remote', 'opd', { ...change, teacher: { url, gives: 'sampled' } });
    expect([local.code, remote.code], remote.stderr).toEqual([0, 0]);
    expect(await distance(local.final, remote.final)).toBeLessThan(1e-4);
  });

  it('opd from sampled tokens, the plain text from a cache: the same student as with whole distributions', async () => {
    const change = { objective: { lm_coef: 1, kd_ratio: 0.5 }, train: { steps: 4 } };
    const config = writeConfig(join(place.path, 'text-cache.yaml'), worldConfig(world, 'opd', change));
    const cache = join(place.path, 'text-cache');
    const more = ['--top-k', '99', '--dtype', 'f32', '--backend', 'wasm', '--quiet'];
    const made = await runInProcess('cache-teacher', config, '--out', cache, ...more);
    const local = await student('opd-text-local', 'opd', change);
    const sampled = { ...change, teacher: { url, gives: 'sampled' } };
    const bare = await student('opd-text-bare', 'opd', sampled);
    expect(bare.stderr).toMatch(/objective\.kd_ratio: .*, or give pretrain\.teacher_cache$/m);
    const pretrain = { length: 6, batch_size: 2, teacher_cache: cache };
    const remote = await student('opd-text-cache', 'opd', { ...sampled, pretrain });
    expect([made.code, local.code, remote.code], made.stderr + remote.stderr).toEqual([0, 0, 0]);
    expect(await distance(local.final, remote.final)).toBeLessThan(1e-4);
  });

  it('kd from the most likely tokens: all of them give the student of the whole distribution', async () => {
    const whole = await student('kd-whole', 'kd', { train: { steps: 4 } });
    const all = await student('kd-15', 'kd', {
      train: { steps: 4 },
      teacher: { url, gives: 'top_k', top_k: 15 },
    });
    const few = await student('kd-3', 'kd', {
      train: { steps: 4 },
      teacher: { url, gives: 'top_k', top_k: 3 },
    });
    expect([all.code, few.code], few.stderr).toEqual([0, 0]);
    expect(await distance(whole.final, all.final)).toBeLessThan(1e-4);
    expect(await distance(whole.final, few.final)).toBeGreaterThan(1e-4);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['minillm', {}, /objective\.alpha: 0\.2 mixes the teacher .*set objective\.alpha: 0$/m],
    ['minillm', { gives: 'sampled' }, /objective\.single_step: needs whole distributions/],
    ['minillm', { gives: 'top_k' }, /top_k serves kd only/],
    ['kd', { gives: 'sampled' }, /sampled serves opd/],
    ['seqkd', {}, /seqkd lets the teacher write/],
    ['kd', { key: 'secret' }, /[Uu]nrecognized key/],
  ])('%s with %j is refused', async (method, teacher, line) => {
    const objective = teacher.gives === undefined ? {} : { objective: { alpha: 0 } };
    const { code, stderr } = await student('refused', method, { ...objective, teacher: { url, ...teacher } });
    expect([code, stderr]).toEqual([2, expect.stringMatching(line)]);
  });
});

it('Ctrl-C ends minillm serve cleanly', async () => {
  served.child.kill('SIGINT');
  const { code, stderr } = await served.done;
  expect(code).toBe(0);
  expect(stderr).toMatch(/closed\n$/);
});
