import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess, spawnSources } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('inputs');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const train = (config: string, out: string, ...more: string[]) =>
  runInProcess('train', config, '--out', out, '--backend', 'wasm', ...more);

describe('what a run reads', () => {
  it('--resume refuses other data and other weights, and goes on with them when told to', async () => {
    const change = { train: { steps: 4 }, eval: { every: 0 }, checkpoint: { every: 2 } };
    const config = writeConfig(join(place.path, 'sft.yaml'), worldConfig(world, 'sft', change));
    const out = join(place.path, 'run');
    expect(await train(config, out, '--quiet')).toMatchObject({ code: 0 });
    expect(Object.keys(JSON.parse(readFileSync(join(out, 'inputs.json'), 'utf8')))).toEqual(
      expect.arrayContaining(['data.train', 'data.valid', 'student']),
    );
    const rows = readFileSync(world.train, 'utf8');
    appendFileSync(world.train, rows.split('\n')[0]!.concat('\n'));
    const refused = await train(config, out, '--resume', '--quiet');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(
      /data\.train is not what the run began with; put the old files back, or add --changed-inputs/,
    );
    const told = await train(config, out, '--resume', '--changed-inputs');
    expect(told.code).toBe(0);
    expect(told.stderr).toContain('note: data.train changed since the run began');
    writeFileSync(world.train, rows);
  });

  it('a directory in which another process trains is refused; the number of a dead one is passed over', async () => {
    const change = { train: { steps: 2 }, eval: { every: 0 } };
    const config = writeConfig(join(place.path, 'two.yaml'), worldConfig(world, 'sft', change));
    const out = join(place.path, 'two');
    const lock = join(place.path, '.two.pid');
    writeFileSync(lock, String(process.ppid)); // a process that is there and is not this one
    const refused = await train(config, out, '--quiet');
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain(`process ${process.ppid} trains there`);
    const gone = spawnSources('--version');
    await gone.done;
    writeFileSync(lock, String(gone.child.pid));
    expect(await train(config, out, '--quiet')).toMatchObject({ code: 0 });
    expect(existsSync(lock)).toBe(false);
  });

  it('says that a directory holds a run before anything is loaded', async () => {
    // Loading this student would fail.
    const damaged = join(place.path, 'damaged');
    cpSync(world.student, damaged, { recursive: true });
    writeFileSync(join(damaged, 'model.safetensors'), 'nothing');
    const fields = { ...worldConfig(world, 'sft', { train: { steps: 2 } }), student: damaged };
    const config = writeConfig(join(place.path, 'late.yaml'), fields);
    const refused = await train(config, join(place.path, 'two'), '--quiet');
    expect(refused.stderr).toContain('holds a run already');
  });

  it('--version says the version', async () => {
    const version = await spawnSources('--version').done;
    expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });

  it.skipIf(!existsSync('/dev/full'))('standard output that cannot be written is one line', async () => {
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'doctor'], {
      stdio: ['ignore', full, 'pipe'],
    });
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const [code] = await once(child, 'close');
    closeSync(full);
    expect(code).toBe(1);
    expect(said).toMatch(/^minillm: standard output cannot be written \(ENOSPC\)[^\n]*\n$/);
  });
});
