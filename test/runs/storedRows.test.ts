import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { memoryBytes } from '../../src/data/storedExamples.js';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, runInProcess } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('stored-rows');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
const usual = { ...memoryBytes };
afterAll(() => {
  Object.assign(memoryBytes, usual);
  place.remove();
});

it.each(['sft', 'minillm', 'seqkd', 'gkd'])(
  '%s: rows that stay on the disk give the same bytes',
  async (method) => {
    const fields = worldConfig(world, method, { train: { steps: 2, warmup: 0 }, eval: { every: 0 } });
    const config = writeConfig(join(place.path, `${method}.yaml`), fields);
    const run = async (name: string, bytes: number) => {
      Object.assign(memoryBytes, { jsonl: bytes });
      const out = join(place.path, `${method}-${name}`);
      const ended = await runInProcess('train', config, '--out', out, '--backend', 'wasm');
      expect(ended.code, ended.stderr).toBe(0);
      return { bytes: fingerprintOfRun(out), said: ended.stderr.includes('stays on the disk') };
    };
    const memory = await run('memory', usual.jsonl);
    const disk = await run('disk', -1);
    expect(disk.bytes).toEqual(memory.bytes);
    expect([memory.said, disk.said]).toEqual([false, true]);
  },
);
