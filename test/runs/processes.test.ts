import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, runInProcess, spawnProgram } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const nativeAbsent = await initBackend({ backend: 'tensorflow' }).then(
  () => undefined,
  (error: Error) => error.message,
);
await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('processes');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

/** Waits until a running process has logged some rows, then sends it a signal. */
async function signalAfterRows(
  running: ReturnType<typeof spawnProgram>,
  out: string,
  rows: number,
  signal: NodeJS.Signals,
) {
  const metrics = join(out, 'metrics.jsonl');
  let ended = false;
  void running.done.then(() => {
    ended = true;
  });
  while (!ended) {
    if (existsSync(metrics) && readFileSync(metrics, 'utf8').split('\n').length > rows) {
      running.child.kill(signal);
      break;
    }
    await wait(2);
  }
  return running.done;
}

/** A run in this process, never interrupted. */
async function wholeRun(
  method: string,
  change: Record<string, unknown>,
): Promise<{ config: string; whole: string }> {
  const config = writeConfig(join(place.path, `${method}.yaml`), worldConfig(world, method, change));
  const whole = join(place.path, `${method}-whole`);
  const result = await runInProcess('train', config, '--out', whole, '--backend', 'wasm', '--quiet');
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return { config, whole };
}

/** What must be equal of two runs that may have saved at different steps, the last one apart. */
function comparable(directory: string, lastStep: number): Record<string, string> {
  const entries = Object.entries(fingerprintOfRun(directory));
  const own = (name: string): boolean =>
    !name.startsWith('checkpoints') || name.startsWith(`checkpoints/${lastStep}/`);
  return Object.fromEntries(entries.filter(([name]) => own(name)));
}

describe('real processes, real signals (wasm)', () => {
  it('sft: SIGKILL and resume end with the student and the metrics of a run never interrupted', async () => {
    const change = { train: { steps: 60 }, eval: { every: 0 }, checkpoint: { every: 7, keep: 2 } };
    const { config, whole } = await wholeRun('sft', change);
    const out = join(place.path, 'sft-run');
    const start = () =>
      spawnProgram('train', config, '--out', out, '--resume', '--backend', 'wasm', '--quiet');
    const killed = await signalAfterRows(start(), out, 9, 'SIGKILL');
    expect(killed.signal).toBe('SIGKILL');
    expect(existsSync(join(out, 'final'))).toBe(false);
    expect(await start().done).toMatchObject({ code: 0, stderr: '' });
    expect(comparable(out, 60)).toEqual(comparable(whole, 60));
  });

  it('minillm: so do SIGKILL in the middle of a round, and Ctrl-C, which saves and says how to go on', async () => {
    const change = { train: { steps: 40 }, eval: { every: 20 }, checkpoint: { every: 3, keep: 2 } };
    const { config, whole } = await wholeRun('minillm', change);
    const out = join(place.path, 'minillm-run');
    const start = () =>
      spawnProgram('train', config, '--out', out, '--resume', '--backend', 'wasm', '--quiet', '--json');
    const killed = await signalAfterRows(start(), out, 7, 'SIGKILL');
    expect(killed.signal).toBe('SIGKILL');

    const stopped = await signalAfterRows(start(), out, 18, 'SIGINT');
    expect(stopped.stderr).toMatch(/^minillm: stopped at step \d+ of 40, saved; go on with --resume\n$/);
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    const step = /step (\d+)/.exec(stopped.stderr)![1]!;
    expect(existsSync(join(out, 'checkpoints', step, 'training-state', 'state.json'))).toBe(true);

    const finished = await start().done;
    expect(finished).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(finished.stdout)).toMatchObject({ method: 'minillm', steps: 40 });
    expect(comparable(out, 40)).toEqual(comparable(whole, 40));
  });
});

describe('the same seed in two processes, native engine', () => {
  const check = async (): Promise<void> => {
    const config = writeConfig(
      join(place.path, 'native.yaml'),
      worldConfig(world, 'minillm', { threads: 2 }),
    );
    const outs = ['native-1', 'native-2'].map((name) => join(place.path, name));
    const results = await Promise.all(
      outs.map(
        (out) => spawnProgram('train', config, '--out', out, '--backend', 'tensorflow', '--quiet').done,
      ),
    );
    for (const result of results) expect(result).toMatchObject({ code: 0, stderr: '' });
    const [first, second] = outs.map(fingerprintOfRun);
    expect(first!.metrics!.split('\n').length).toBe(1 + 6 + 3);
    expect(second).toEqual(first);
  };
  if (nativeAbsent) it.skip(`skipped, the native engine is absent: ${nativeAbsent}`);
  else it('identical metrics and student, two threads', check);
});
