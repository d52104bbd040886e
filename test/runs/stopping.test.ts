import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { interruptible } from '../../src/cli/interrupt.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { runTraining } from '../../src/runs/train.js';
import { type BackendInfo, initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, spawnProgram } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const place = temporaryDirectory('stopping');
let backend: BackendInfo;
let world: FileWorld;
beforeAll(async () => {
  backend = await initBackend({ backend: 'wasm' });
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);
afterEach(() => void vi.restoreAllMocks());

/** Runs until a person, asked at every pause, has said so often that nothing is to stop. Returns what ended it, and the pauses. */
async function attempt(
  config: string,
  out: string,
  pausesBefore: number,
): Promise<{ why: string; pauses: number }> {
  let pauses = 0;
  const why = await runTraining(await readTrainConfig(config, []), out, {
    resume: existsSync(out),
    backend,
    log: () => {},
    quiet: true,
    stopping: () => pauses++ >= pausesBefore,
  }).then(
    () => 'finished',
    (error: Error) => error.message,
  );
  return { why, pauses };
}

describe('a stop while responses are sampled or validated is heard, saves, and changes no byte', () => {
  const value = { objective: { baseline: 'value' } };
  it.each([
    ['minillm', {}],
    ['minillm', value],
    ['gkd', {}],
    ['distillm', {}],
    ['seqkd', {}],
    ['sft', {}],
  ])('%s %j', async (method, change) => {
    // Every piece seems to take long enough for a pause.
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 100));
    const name = `${method}-${'objective' in change}`;
    const config = writeConfig(join(place.path, `${name}.yaml`), worldConfig(world, method, change));
    const whole = join(place.path, `${name}-whole`);
    const { pauses } = await attempt(config, whole, Number.POSITIVE_INFINITY);
    const out = join(place.path, `${name}-stopped`);
    const reasons: string[] = [];
    // Into the first validation, then ever further; every try has to get through what the one before gave up.
    for (let k = 1; reasons.at(-1) !== 'finished'; ) {
      expect(k).toBeLessThan(4 * pauses);
      reasons.push((await attempt(config, out, k)).why);
      // What is enough for one validation is about enough for the next.
      k = reasons.at(-1)!.startsWith('stopped at') ? k + 1 : Math.ceil(k * 1.35);
    }
    if (method !== 'sft') expect(reasons[0]).toBe('stopped before the first step; --resume begins again');
    expect(
      reasons.filter((why) => /^stopped at step \d of 6, saved; go on with --resume$/.test(why)).length,
    ).toBeGreaterThan(1);
    const last = (found: Record<string, string>) =>
      Object.fromEntries(
        Object.entries(found).filter(
          ([key]) => !key.startsWith('checkpoints') || key.startsWith('checkpoints/6/'),
        ),
      );
    expect(last(fingerprintOfRun(out))).toEqual(last(fingerprintOfRun(whole)));
  });
});

describe('real signals while the first round is sampled (wasm)', () => {
  const start = (name: string) => {
    const change = {
      train: { steps: 4, batch_size: 16384, micro_batch_size: 64 },
      rollout: { rollouts: 16384, samples: 1024, inner_epochs: 1, batch_size: 8 },
      eval: { every: 0, metrics: [] },
    };
    const config = writeConfig(join(place.path, `${name}.yaml`), worldConfig(world, 'opd', change));
    const out = join(place.path, name);
    const running = spawnProgram('train', config, '--out', out, '--backend', 'wasm');
    let said = '';
    running.child.stderr!.on('data', (text: string) => {
      said += text;
    });
    const saw = async (what: RegExp | string): Promise<void> => {
      const there = () => (what instanceof RegExp ? what.test(said) : existsSync(what));
      while (!there() && running.child.exitCode === null) await wait(5);
    };
    return { ...running, out, saw };
  };

  it('SIGTERM is heard within the round, which is given up', async () => {
    const run = start('term');
    await run.saw(join(run.out, 'samples', 'step-0.jsonl'));
    await wait(300);
    run.child.kill('SIGTERM');
    const { code, stderr } = await run.done;
    expect(stderr).toMatch(/stopping and saving.*\n/);
    expect(stderr).toMatch(/minillm: stopped before the first step; --resume begins again\n$/);
    expect(code).toBe(130);
  });
});

it("a scheduler's warning and the SIGTERM that follows it save; what comes after that ends the process", () => {
  const exit = vi.spyOn(process, 'exit').mockImplementation((() => {}) as never);
  const lines: string[] = [];
  const { stopping, release } = interruptible((line) => lines.push(line));
  try {
    for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGUSR1'] as const) process.emit(signal, signal);
    expect([stopping(), lines.length, exit.mock.calls]).toEqual([true, 1, []]);
    process.emit('SIGTERM', 'SIGTERM');
    expect(exit.mock.calls).toEqual([[130]]);
  } finally {
    release();
  }
});

it('the second signal ends the process at once', () => {
  const exit = vi.spyOn(process, 'exit').mockImplementation((() => {}) as never);
  const lines: string[] = [];
  const { stopping, release } = interruptible((line) => lines.push(line));
  try {
    process.emit('SIGTERM', 'SIGTERM');
    expect([stopping(), lines.length, exit.mock.calls]).toEqual([true, 1, []]);
    process.emit('SIGINT', 'SIGINT');
    expect(exit.mock.calls).toEqual([[130]]);
  } finally {
    release();
  }
});
