import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openRunWorld, type RunWorld, train } from '../../experiments/torture/faults/runs.js';
import { besiege } from '../../experiments/torture/faults/siege.js';
import { breaches, type Operation, readTrace } from '../../experiments/torture/faults/traceOrder.js';
import type { Part } from '../../experiments/torture/part.js';
import { kill } from '../../experiments/torture/parts/kill.js';
import { locks } from '../../experiments/torture/parts/locks.js';
import { campaign } from '../../experiments/torture/run.js';
import type { PartState } from '../../experiments/torture/state.js';
import { stream } from '../../src/random/streams.js';
import { scoringServer } from '../../src/scoring/server.js';
import { temporaryFolder } from '../helpers/temporary.js';

const place = temporaryFolder('torture');

/** Cases until some time is over, one at least. */
async function smoke(part: Part): Promise<PartState> {
  const out = join(place, part.name);
  mkdirSync(out);
  const said: string[] = [];
  const paths = { out, page: join(out, 'page.md') };
  let open = 0;
  // Making the models may take longer than the first share.
  for (const minutes of [0.1, 0.1, 0.4, 1])
    if (readdirSync(out).every((name) => !isDone(join(out, name))))
      open = await campaign({ minutes, seed: 1, parts: [part], ...paths, say: (line) => said.push(line) });
  expect(said.filter((line) => line.includes(': case '))).toEqual([]);
  expect(open).toBe(0);
  return JSON.parse(readFileSync(join(out, `${part.name}.json`), 'utf8')) as PartState;
}

const isDone = (file: string): boolean =>
  file.endsWith('.json') && (JSON.parse(readFileSync(file, 'utf8')) as PartState).next > 0;

describe('the campaign on processes, a few cases', () => {
  it('kill', async () => {
    const { counts } = await smoke(kill);
    expect(counts.kills).toBeGreaterThan(0);
    expect(counts['runs with the bytes of the uninterrupted one']).toBe(
      counts['runs ended after their kills'],
    );
  });

  it('locks', async () => {
    const { counts } = await smoke(locks);
    expect(counts['claims that were granted']).toBeGreaterThan(0);
    expect(counts['claims that were refused']).toBeGreaterThan(0);
  });

  it('serve', async () => {
    const teacher = {
      gives: 'full' as const,
      vocabSize: 15,
      maxPositions: 24,
      logprobs: () => [],
      distributions: (some: readonly { responseIds: ArrayLike<number> }[]) =>
        some.map((s) => new Float32Array(s.responseIds.length * 15).fill(-2)),
      close: () => {},
    };
    const tokenizer = { fingerprint: 'x', encode: () => [1, 2], decode: () => 'a' };
    const limits = { batchSize: 16, maxBody: 1 << 20, maxConnections: 50, seconds: 2 };
    const options = { id: 'teacher', teacher, tokenizer: tokenizer as never, ...limits, log: () => {} };
    const server = scoringServer(options).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const target = { host: '127.0.0.1', port, vocabSize: 15 };
    const siege = { target, connections: 200, seconds: 3, limit: 20 };
    const { fates, honest, wrong } = await besiege(siege, stream(1, 'siege'));
    server.close();
    expect(wrong).toEqual([]);
    expect(fates.filter(({ status }) => status === 408).length).toBeGreaterThan(0);
    expect(honest.length).toBeGreaterThan(3);
  });
});

describe('the order in which a run writes', () => {
  let world: RunWorld;
  beforeAll(async () => {
    world = await openRunWorld(join(place, 'world'));
  });

  it.each(['minillm', 'distillm'])(
    '%s: files are synced before the rename that makes them valid, the directory after it, all else before a checkpoint',
    async (name) => {
      const trace = join(place, `${name}.json`);
      const { config } = world.variants.find((variant) => variant.name === name)!;
      expect(await train(config, join(place, `${name}-run`), { trace })).toMatchObject({ code: 0 });
      const operations = readTrace(trace);
      const renamed = operations.filter(({ op, failed }) => op === 'rename' && !failed).map(({ to }) => to!);
      for (const what of [
        /best$/,
        /final$/,
        /checkpoints\/4$/,
        /inputs\.json$/,
        /report\.html$/,
        /samples\/step-6\.jsonl$/,
      ])
        expect(renamed.some((to) => what.test(to))).toBe(true);
      expect(breaches(operations)).toEqual([]);
      const unsynced = operations.filter(({ op, path }) => op !== 'sync' || !path.endsWith('metrics.jsonl'));
      expect(breaches(unsynced)).not.toEqual([]);
    },
  );

  it('what is not synced in time is found', () => {
    const run = (...operations: Operation[]): string[] => breaches(operations);
    const write: Operation = { op: 'write', path: '/r/.a.tmp' };
    const sync: Operation = { op: 'sync', path: '/r/.a.tmp' };
    const rename: Operation = { op: 'rename', path: '/r/.a.tmp', to: '/r/a' };
    const syncNames: Operation = { op: 'sync', path: '/r' };
    expect(run(write, sync, rename, syncNames)).toEqual([]);
    expect(run(write, rename, syncNames)).toEqual(['/r/.a.tmp was not synced before it became /r/a']);
    expect(run(sync, write, rename, syncNames)).toHaveLength(1);
    expect(run(write, sync, rename)).toEqual(['the name of /r/a was never synced']);
    expect(run(write, sync, rename, { op: 'rm', path: '/q' }, syncNames)).toEqual([
      'rm /q while the name of /r/a was not synced',
    ]);
    const checkpoint: Operation[] = [
      { op: 'rename', path: '/r/checkpoints/.tmp', to: '/r/checkpoints/2' },
      { op: 'sync', path: '/r/checkpoints' },
    ];
    expect(run({ op: 'write', path: '/r/metrics.jsonl' }, ...checkpoint)).toEqual([
      '/r/metrics.jsonl was not synced before the checkpoint /r/checkpoints/2',
    ]);
  });
});
