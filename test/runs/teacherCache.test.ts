import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadExamples } from '../../src/data/examples.js';
import { loadModel } from '../../src/models/checkpoint.js';
import { cacheTeacher } from '../../src/runs/cacheTeacher.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { localTeacher } from '../../src/scoring/localTeacher.js';
import { initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { runInProcess, sha256 } from '../helpers/cli.js';
import {
  type FileWorld,
  worldConfig,
  writeConfig,
  writeFileWorld,
  writeTinyTokenizer,
} from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const { engine } = await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('teacher-cache');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(() => place.remove());

const V = 15;
type Fields = Record<string, unknown>;

const at = (name: string): string => join(place.path, name);

function configOf(name: string, method: string, change: Fields): string {
  return writeConfig(at(`${name}.yaml`), worldConfig(world, method, { train: { steps: 3 }, ...change }));
}

async function cache(name: string, method: string, change: Fields, ...more: string[]) {
  const config = configOf(`${name}-config`, method, change);
  const args = ['cache-teacher', config, '--out', at(name), '--backend', 'wasm', '--quiet', '--json'];
  const result = await runInProcess(...args, ...more);
  if (result.code !== 0) throw new Error(result.stderr);
  return { directory: at(name), summary: JSON.parse(result.stdout) as Record<string, number> };
}

async function train(name: string, method: string, change: Fields, ...more: string[]) {
  const out = at(name);
  const args = ['train', configOf(name, method, change), '--out', out, '--backend', 'wasm', ...more];
  const { code, stderr } = await runInProcess(...args);
  const final = join(out, 'final');
  const metrics = (): Record<string, number>[] =>
    readFileSync(join(out, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  return { code, stderr, final, metrics };
}

async function distance(a: string, b: string): Promise<number> {
  const [x, y] = [await loadModel(a), await loadModel(b)];
  const rows = Object.keys(x.params).map((name) => {
    const other = y.params[name]!.dataSync();
    return Math.max(...Array.from(x.params[name]!.dataSync(), (v, i) => Math.abs(v - other[i]!)));
  });
  return Math.max(...rows);
}

const filesOf = (directory: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(directory)
      .sort()
      .map((name) => [name, sha256(join(directory, name))]),
  );

describe('a student from a cache of every token', () => {
  it.each<[string, Fields]>([
    ['kd', {}],
    ['reverse-kd', { train: { steps: 3, kd_temperature: 2 } }],
    ['babyllama', {}],
  ])('%s %j: that of the teachers themselves', async (method, change) => {
    const name = `${method}-${JSON.stringify(change).length}`;
    const { directory } = await cache(`${name}-cache`, method, change, '--top-k', '99', '--dtype', 'f32');
    const live = await train(`${name}-live`, method, change);
    const cached = await train(`${name}-cached`, method, { ...change, teacher: { cache: directory } });
    expect([live.code, cached.code], cached.stderr).toEqual([0, 0]);
    expect(cached.stderr).toMatch(/teacher from the cache .*, 20 rows: whole distributions/);
    expect(await distance(live.final, cached.final)).toBeLessThan(1e-4);
    expect(await distance(world.student, cached.final)).toBeGreaterThan(1e-2);
    // The teacher is not there any more: it reads nothing, and no metric needs it.
    const [before, after] = [live.metrics(), cached.metrics()];
    expect(after.findLast(({ teacher_tokens }) => teacher_tokens !== undefined)!.teacher_tokens).toBe(0);
    expect(after[0]).not.toHaveProperty('valid_reverse_kl_seq');
    expect(after[0]!.valid_objective).toBeCloseTo(before[0]!.valid_objective!, 4);
  });
});

describe('a student from the likeliest tokens', () => {
  it.each([1, 2])(
    'reverse-kd at T = %d: the loss is the KL over the named tokens and one bucket, position by position',
    async (T) => {
      const change = { train: { steps: 2, kd_temperature: T } };
      const { directory, summary } = await cache(`few-${T}`, 'reverse-kd', change, '--top-k', '3');
      expect(summary).toMatchObject({ top_k: 3, rows: 20, shards: 1 });
      const run = await train(`few-${T}-run`, 'reverse-kd', { ...change, teacher: { cache: directory } });
      expect(run.code, run.stderr).toBe(0);
      expect(run.stderr).toMatch(
        /its 3 likeliest tokens and the gold one; all others \([\d.]+ % of .*lower bound/,
      );
      const limits = { template: 'none', maxPromptTokens: 8, maxTokens: 14 } as const;
      const { examples } = await loadExamples(world.valid, await loadTokenizer(world.teacher), limits);
      const said = async (model: string) => localTeacher(await loadModel(model)).distributions(examples);
      const [student, teacher] = [await said(world.student), await said(world.teacher)];
      let [sum, whole, tokens] = [0, 0, 0];
      examples.forEach(({ responseIds }, row) => {
        responseIds.forEach((gold, t) => {
          const softened = (x: Float32Array): number[] => {
            const p = Array.from(x.subarray(t * V, (t + 1) * V), (value) => Math.exp(value / T));
            const total = p.reduce((a, b) => a + b, 0);
            return p.map((value) => value / total);
          };
          const [q, p] = [softened(student[row]!), softened(teacher[row]!)];
          const best = p
            .map((x, v) => ({ x, v }))
            .sort((a, b) => b.x - a.x)
            .slice(0, 3);
          const named = new Set([gold, ...best.map(({ v }) => v)]);
          let [qTail, pTail] = [0, 0];
          q.forEach((x, v) => {
            whole += x * Math.log(x / p[v]!);
            if (named.has(v)) sum += x * Math.log(x / p[v]!);
            else [qTail, pTail] = [qTail + x, pTail + p[v]!];
          });
          sum += qTail * Math.log(qTail / pTail);
          tokens++;
        });
      });
      const { valid_objective } = run.metrics()[0]!;
      expect(valid_objective).toBeCloseTo(sum / tokens, 3); // 16 bits
      expect(valid_objective).toBeLessThan(whole / tokens);
    },
  );
});

describe('the plain text of minillm', () => {
  const text = { objective: { kd_ratio: 0.5 } };

  it('from a cache of every token: the student of the teacher itself, which reads none of it', async () => {
    const { directory, summary } = await cache('text', 'minillm', text, '--top-k', '99', '--dtype', 'f32');
    expect(summary.kind).toBe('text');
    const live = await train('text-live', 'minillm', text);
    const cached = await train('text-cached', 'minillm', {
      ...text,
      pretrain: { length: 6, batch_size: 2, teacher_cache: directory },
    });
    expect([live.code, cached.code], cached.stderr).toEqual([0, 0]);
    expect(await distance(live.final, cached.final)).toBeLessThan(1e-4);
    const read = (run: typeof live) =>
      run.metrics().findLast(({ teacher_tokens }) => teacher_tokens !== undefined)!.teacher_tokens!;
    expect(read(live) - read(cached)).toBe(2 * 2 * 6); // a pass of two steps, two pieces of six tokens each
  });
});

describe('a cache that was stopped', () => {
  const options = { topK: 3, dtype: 'f16', shardRows: 7, engine, log: () => {} } as const;
  const make = async (out: string, stopping: () => boolean = () => false) =>
    cacheTeacher(await readTrainConfig(configOf('stopped', 'kd', {}), []), out, { ...options, stopping });
  const whole = (): Record<string, string> => filesOf(at('whole'));

  it('says that a top-k above the vocabulary keeps every token', async () => {
    const lines: string[] = [];
    const config = await readTrainConfig(configOf('all', 'kd', {}), []);
    const log = (line: string) => void lines.push(line);
    await cacheTeacher(config, at('all'), { ...options, topK: 99, log, stopping: () => false });
    expect(lines).toContain('note: top-k 99 of a vocabulary of 15: every token is kept');
  });

  it('ends with its shard, says how to go on, and has the same bytes in the end', async () => {
    expect(await make(at('whole'))).toMatchObject({ rows: 20, shards: 3 });
    expect(Object.keys(whole())).toEqual([
      'index.json',
      ...[0, 1, 2].map((i) => `shard-0000${i}.safetensors`),
    ]);
    await expect(make(at('parts'), () => true)).rejects.toMatchObject({
      exitCode: 130,
      message: `stopped after shard 1 of 3, saved in ${at('parts')}; the same command goes on`,
    });
    const kd = await train('unfinished', 'kd', { teacher: { cache: at('parts') } }, '--quiet');
    expect(kd.stderr).toMatch(/parts: is not finished \(1 of 3 shards\); call minillm cache-teacher again/);
    await make(at('parts'));
    expect(filesOf(at('parts'))).toEqual(whole());
  });

  it('killed between shard and index, with half a file left; then a shard cut off: the same bytes', async () => {
    const index = JSON.parse(readFileSync(join(at('whole'), 'index.json'), 'utf8'));
    const killed = at('killed');
    cpSync(at('whole'), killed, { recursive: true });
    writeFileSync(join(killed, 'index.json'), JSON.stringify({ ...index, shards: index.shards.slice(0, 1) }));
    rmSync(join(killed, 'shard-00002.safetensors'));
    writeFileSync(join(killed, '.shard-00002.safetensors.99999999.tmp'), 'half');
    await make(killed);
    expect(filesOf(killed)).toEqual(whole());
    truncateSync(join(killed, 'shard-00001.safetensors'), 100);
    await make(killed);
    expect(filesOf(killed)).toEqual(whole());
  });

  it('another configuration does not mix with it', async () => {
    const args = ['cache-teacher', configOf('other', 'kd', {}), '--out', at('whole'), '--backend', 'wasm'];
    const more = ['--shard-rows', '7', '--quiet'];
    const otherK = await runInProcess(...args, '--top-k', '4', ...more);
    expect([otherK.code, otherK.stderr]).toEqual([
      2,
      expect.stringMatching(/whole: holds another cache \(top_k is 3 there, 4 here\)/),
    ]);
    const teacher = await runInProcess(...args, '--top-k', '3', ...more, '--set', `teacher=${world.student}`);
    expect(teacher.stderr).toMatch(/holds another cache \(teachers is \["[0-9a-f]{64}"\] there/);
  });
});

describe('a cache that does not fit is refused before the first step', () => {
  let fits: string;
  beforeAll(async () => {
    fits = (await cache('fits', 'kd', {}, '--top-k', '3')).directory;
  });
  const kd = { max_prompt_tokens: 8, max_tokens: 14, template: 'none' };
  const data = (change: Fields): Fields => ({
    data: { train: world.train, valid: world.valid, corpus: world.corpus, ...kd, ...change },
  });

  it.each<[string, string, () => Fields, RegExp]>([
    [
      'another template',
      'kd',
      () => data({ template: 'plain', max_prompt_tokens: 20, max_tokens: 24 }),
      /data\.template "none", and here it is "plain"/,
    ],
    [
      'shorter rows',
      'kd',
      () => data({ valid: world.train, max_prompt_tokens: 5, max_tokens: 7 }),
      /data\.max_prompt_tokens 8, and here it is 5/,
    ],
    [
      'other data',
      'kd',
      () => data({ train: world.valid }),
      /made of other data \(data\.train is another file: row 1 of data\.train is another\)/,
    ],
    ['more validation rows', 'kd', () => data({ valid: world.train }), /data\.valid is another file/],
    [
      'another temperature',
      'kd',
      () => ({ train: { steps: 2, kd_temperature: 2 } }),
      /at temperature 1, and train\.kd_temperature is 2/,
    ],
    ['another temperature', 'babyllama', () => ({}), /at temperature 1, and kd\.temperature is 2/],
    ['gkd', 'gkd', () => ({}), /teacher\.cache: gkd asks the teacher about responses that are sampled/],
    ['seqkd', 'seqkd', () => ({}), /teacher\.cache: seqkd lets the teacher write/],
    ['minillm', 'minillm', () => ({}), /for its text part there is pretrain\.teacher_cache$/m],
    [
      'text',
      'minillm',
      () => ({ teacher: world.teacher, pretrain: { length: 6, teacher_cache: fits } }),
      /holds gold responses, expected pieces of plain text/,
    ],
    [
      'text unread',
      'minillm',
      () => ({
        teacher: world.teacher,
        objective: { kd_ratio: 0 },
        pretrain: { length: 6, teacher_cache: fits },
      }),
      /pretrain\.teacher_cache: nothing asks/,
    ],
    [
      'a cache as a model',
      'kd',
      () => ({ teacher: fits }),
      /fits is a teacher's cache and no model; set teacher\.cache to it/,
    ],
    [
      'no such cache',
      'kd',
      () => ({ teacher: { cache: at('nothing') } }),
      /teacher\.cache: .*nothing does not exist/,
    ],
    [
      'no cache',
      'kd',
      () => ({ teacher: { cache: world.teacher } }),
      /holds no index\.json; expected a directory that minillm cache-teacher wrote/,
    ],
  ])('%s (%s)', async (what, method, change, line) => {
    const fields = { teacher: { cache: fits }, ...change() };
    const run = await train(`refused-${what}-${method}`, method, fields, '--quiet');
    expect([run.code, run.stderr]).toEqual([2, expect.stringMatching(line)]);
    expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('limits that drop no other row fit: the token ids decide', async () => {
    const fields = { teacher: { cache: fits }, train: { steps: 2 }, ...data({ max_tokens: 15 }) };
    const run = await train('fitting', 'reverse-kd', { ...fields, eval: { every: 0, prompts: 3 } });
    expect(run.code, run.stderr).toBe(0);
  });

  it('another tokenizer', async () => {
    const foreign = at('foreign');
    cpSync(world.student, foreign, { recursive: true });
    writeTinyTokenizer(at('foreign-tokenizer'), 'h');
    cpSync(join(at('foreign-tokenizer'), 'tokenizer.json'), join(foreign, 'tokenizer.json'));
    const run = await train(
      'refused-tokenizer',
      'kd',
      { student: foreign, teacher: { cache: fits } },
      '--quiet',
    );
    expect([run.code, run.stderr]).toEqual([
      2,
      expect.stringMatching(/fits: was made with another tokenizer/),
    ]);
  });

  it.each<[string, (directory: string) => void, RegExp]>([
    [
      'a truncated shard',
      (d) => truncateSync(join(d, 'shard-00000.safetensors'), 500),
      /shard-00000\.safetensors: 500 bytes, expected \d+; delete it/,
    ],
    [
      'a shard that is gone',
      (d) => rmSync(join(d, 'shard-00000.safetensors')),
      /shard-00000\.safetensors: no such file/,
    ],
    [
      'one bit',
      (d) => flip(join(d, 'shard-00000.safetensors'), -9),
      /is not what was written \(its SHA-256 differs\)/,
    ],
    [
      'a hostile shard of the right digest: ids',
      (d) => rewrite(d, 'ids', 0xff),
      /row 0: id 65535 of a vocabulary of 15; the cache is damaged/,
    ],
    ['log-probabilities', (d) => rewrite(d, 'logprobs', 0x7e), /row 0: a log-probability of NaN/],
    ['a tail of more than 1', (d) => rewrite(d, 'tail', 0x41), /row 0: a tail of 12/],
    ['offsets', (d) => rewrite(d, 'offsets', 1), /offsets do not rise from 0/],
    ['probabilities that are none', (d) => rewrite(d, 'logprobs', 0), /row 0: probabilities of [23]\.\d+/],
    [
      'an index of another shape',
      (d) => change(d, (index) => ({ ...index, top_k: 5 })),
      /tensor "ids" is U16 \[\d+, 3\], expected U16 \[\d+, 5\]/,
    ],
    [
      'an index that lies about rows',
      (d) => change(d, (index) => ({ ...index, shard_rows: 7 })),
      /shards\.0 is shard-00000\.safetensors of 20 rows, expected .*; put the index back, or delete .* and cache the teacher again/,
    ],
    [
      'an index that was cut off',
      (d) => truncateSync(join(d, 'index.json'), 100),
      /index\.json: not valid JSON.*; put the index back, or delete .* and cache the teacher again/,
    ],
    [
      'an index that leads elsewhere',
      (d) =>
        change(d, (index) => ({
          ...index,
          shards: [{ ...index.shards[0], file: '../fits/shard-00000.safetensors' }],
        })),
      /shards\.0\.file: expected a name as/,
    ],
    ['another format', (d) => change(d, (index) => ({ ...index, format: 2 })), /\(format 1\)/],
  ])('%s', async (what, damage, line) => {
    const directory = at(`damaged ${what}`);
    cpSync(fits, directory, { recursive: true });
    damage(directory);
    const run = await train(`refused ${what}`, 'kd', { teacher: { cache: directory } }, '--quiet');
    expect([run.code, run.stderr]).toEqual([2, expect.stringMatching(line)]);
    expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('a run does not go on with another cache than it began with', async () => {
    const fields = { teacher: { cache: at('swapped') }, train: { steps: 2 } };
    cpSync(fits, at('swapped'), { recursive: true });
    expect((await train('swap', 'kd', fields)).code).toBe(0);
    rmSync(at('swapped'), { recursive: true });
    await cache('swapped', 'kd', {}, '--top-k', '4');
    const again = await train('swap', 'kd', { ...fields, train: { steps: 2 } }, '--resume');
    expect([again.code, again.stderr]).toEqual([
      2,
      expect.stringMatching(/teacher\.cache is not what the run began with/),
    ]);
  });

  it('a plan needs no teacher either', async () => {
    const config = configOf('planned', 'kd', { teacher: { cache: fits } });
    const planned = await runInProcess(
      'plan',
      config,
      '--no-calibrate',
      '--json',
      '--backend',
      'wasm',
      '--quiet',
    );
    expect(planned.code, planned.stderr).toBe(0);
    const { models, memory } = JSON.parse(planned.stdout);
    expect(models).toHaveLength(1);
    expect(JSON.stringify(memory)).toMatch(/"teacher_weights":0/);
  });
});

describe('what cannot be cached', () => {
  it.each<[string, Fields, RegExp]>([
    ['sft', {}, /method: sft asks its teacher about nothing that is known before/],
    ['gkd', {}, /method: gkd asks/],
    ['minillm', { objective: { kd_ratio: 0 } }, /method: minillm asks/],
    ['kd', { teacher: 'http://127.0.0.1:1' }, /teacher: a server, and a cache is made of the weights/],
  ])('%s %j', async (method, change, line) => {
    const config = configOf(`no-${method}-${JSON.stringify(change).length}`, method, change);
    const result = await runInProcess(
      'cache-teacher',
      config,
      '--out',
      at('none'),
      '--backend',
      'wasm',
      '--quiet',
    );
    expect([result.code, result.stderr]).toEqual([2, expect.stringMatching(line)]);
  });

  it('a directory that holds something else', async () => {
    const config = configOf('occupied', 'kd', {});
    const result = await runInProcess(
      'cache-teacher',
      config,
      '--out',
      world.student,
      '--backend',
      'wasm',
      '--quiet',
    );
    expect([result.code, result.stderr]).toEqual([
      2,
      expect.stringMatching(/holds config\.json, which is no part of a cache/),
    ]);
  });
});

function flip(file: string, offset: number): void {
  const bytes = readFileSync(file);
  bytes[bytes.length + offset]! ^= 1;
  writeFileSync(file, bytes);
}

// biome-ignore lint/suspicious/noExplicitAny: JSON to be spoilt
function change(directory: string, by: (index: any) => unknown): void {
  const file = join(directory, 'index.json');
  writeFileSync(file, JSON.stringify(by(JSON.parse(readFileSync(file, 'utf8')))));
}

/** Fills the first 8 bytes of a tensor, and has the index say that this is what was written. */
function rewrite(directory: string, tensor: string, byte: number): void {
  const file = join(directory, 'shard-00000.safetensors');
  const bytes = readFileSync(file);
  const size = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + size));
  const [begin] = header[tensor].data_offsets;
  bytes.fill(byte, 8 + size + begin, 8 + size + begin + 8);
  writeFileSync(file, bytes);
  change(directory, (index) => ({ ...index, shards: [{ ...index.shards[0], sha256: sha256(file) }] }));
}
