import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { fingerprintOfRun, type Running, spawnProgram } from '../helpers/cli.js';
import { emulatorAbsent } from '../helpers/emulator.js';
import { worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const absent = await emulatorAbsent();
const place = temporaryDirectory('cuda-memory');
const at = (name: string): string => join(place.path, name);
afterAll(place.remove);

function train(config: string, name: string, bytes: number | undefined, ...more: string[]): Running {
  const env = { ...process.env, ...(bytes && { MINILLM_EMULATOR_MEMORY: String(bytes) }) };
  return spawnProgram({ env }, 'train', config, '--out', at(name), ...more);
}

async function killAfterRows(running: Running, name: string, rows: number): Promise<void> {
  const metrics = join(at(name), 'metrics.jsonl');
  while (running.child.exitCode === null) {
    if (existsSync(metrics) && readFileSync(metrics, 'utf8').split('\n').length > rows) break;
    await wait(5);
  }
  running.child.kill('SIGKILL');
  await running.done;
}

const environment = (name: string) =>
  JSON.parse(readFileSync(join(at(name), 'environment.json'), 'utf8')) as Record<string, unknown>;

describe.skipIf(absent)(`the memory of a card${absent ? ` [skipped: ${absent}]` : ', emulated'}`, () => {
  it('a run that does not fit ends in one line; its newest checkpoint is whole, and it goes on where there is room', async () => {
    const world = await writeFileWorld(place.path);
    const change = { train: { steps: 6 }, eval: { every: 3 }, checkpoint: { every: 1, keep: 2 } };
    const config = writeConfig(at('sft.yaml'), worldConfig(world, 'sft', change));
    const cuda = ['--backend', 'cuda', '--quiet'];
    expect(await train(config, 'whole', undefined, ...cuda).done).toMatchObject({ code: 0, stderr: '' });
    await killAfterRows(train(config, 'full', undefined, ...cuda), 'full', 3);
    // The model and its moments fit, a step does not.
    const full = await train(config, 'full', 60_000, '--resume', '--quiet').done;
    expect(full.code).toBe(1);
    expect(full.stderr).toMatch(
      /^minillm: cuda: \w+\(.*\): out of device memory: \d+ MiB asked for, \d+ MiB in use; lower train\.micro_batch_size, .*gradient_checkpointing\n$/,
    );
    // The run goes on with what it began on, without being told.
    const resumed = await train(config, 'full', undefined, '--resume').done;
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.stderr).toMatch(/^backend cuda \(as before; this engine is new;/m);
    expect(resumed.stderr).not.toMatch(/note: engine/);
    expect(fingerprintOfRun(at('full'))).toEqual(fingerprintOfRun(at('whole')));
  });

  it('a quarter of what is free keeps teacher logits, and a resumed run keeps what it had', async () => {
    const world = await writeFileWorld(place.path);
    const change = { train: { steps: 2 }, eval: { every: 0 }, checkpoint: { every: 1 } };
    const config = writeConfig(at('minillm.yaml'), worldConfig(world, 'minillm', change));
    const run = (...more: string[]) =>
      train(config, 'budget', 8 << 20, '--quiet', ...(more.length > 0 ? more : ['--backend', 'cuda'])).done;
    expect(await run()).toMatchObject({ code: 0 });
    const bytes = environment('budget').teacher_logits_bytes as number;
    expect(bytes).toBeLessThan(2 << 20);
    expect(bytes).toBeGreaterThan(1.8 * 2 ** 20);
    const file = join(at('budget'), 'environment.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace(String(bytes), '1234'));
    expect(await run('--resume')).toMatchObject({ code: 0 });
    expect(environment('budget').teacher_logits_bytes).toBe(1234);
    // Another engine has its own.
    expect(await run('--resume', '--backend', 'wasm')).toMatchObject({ code: 0 });
    expect(environment('budget').teacher_logits_bytes).toBeUndefined();
  });
});
