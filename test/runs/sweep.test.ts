import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readSweep } from '../../src/runs/sweepConfig.js';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, runInProcess, sha256, spawnProgram } from '../helpers/cli.js';
import {
  type FileWorld,
  temporaryDirectory,
  worldConfig,
  writeConfig,
  writeFileWorld,
} from '../helpers/files.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('sweep');
const at = (...name: string[]): string => join(place.path, ...name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  writeConfig(
    at('base.yaml'),
    worldConfig(world, 'kd', { train: { steps: 4, warmup: 0, schedule: 'constant' } }),
  );
});
afterAll(place.remove);

const sweepFile = (name: string, fields: Record<string, unknown>): string =>
  writeConfig(at(`${name}.yaml`), { base: 'base.yaml', ...fields });
const names = async (file: string): Promise<string[]> => (await readSweep(file)).runs.map((run) => run.name);

describe('SWEEP.yaml', () => {
  it('is every combination, with the fields of each method, and checked before anything runs', async () => {
    const file = sweepFile('grid', {
      set: { 'train.lr': 0.02 },
      grid: { method: ['kd', 'gkd'], seed: [1, 2], 'gkd.beta': [0, 0.5] },
      methods: { gkd: { 'train.lr': 0.03 } },
      budget: { kind: 'steps', amount: 3 },
    });
    const { runs, axes } = await readSweep(file);
    expect(axes).toEqual(['method', 'seed', 'gkd.beta']);
    expect(runs.map((run) => run.name)).toEqual([
      'kd_seed-1_beta-0',
      'kd_seed-1_beta-0.5',
      'kd_seed-2_beta-0',
      'kd_seed-2_beta-0.5',
      'gkd_seed-1_beta-0',
      'gkd_seed-1_beta-0.5',
      'gkd_seed-2_beta-0',
      'gkd_seed-2_beta-0.5',
    ]);
    expect(runs.map((run) => run.config.train.lr)).toEqual([0.02, 0.02, 0.02, 0.02, 0.03, 0.03, 0.03, 0.03]);
    expect(runs.every((run) => run.config.train.steps === 3 && run.config.threads === 1)).toBe(true);
    expect(runs[7]!.config).toMatchObject({ method: 'gkd', seed: 2, gkd: { beta: 0.5 } });
    expect(await names(sweepFile('single', { grid: { method: ['kd'] } }))).toEqual(['run']);
  });

  it.each([
    [{ grid: { method: ['kd', 'nonsense'] } }, 'run nonsense:'],
    [{ grid: { 'train.speed': [1, 2] } }, 'train: Unrecognized key: "speed"'],
    [{ grid: { seed: [] } }, 'grid.seed: expected at least one value'],
    [{ grid: { seed: [1, 1] } }, 'two runs would be called seed-1'],
    [{ grid: { 'train.steps': [1, 2] } }, 'budget: steps means equal train.steps, found 1, 2'],
    [{ grid: { seed: [1] }, budget: { kind: 'seconds' } }, 'budget.amount: missing'],
    [
      { grid: { seed: [1] }, set: { 'train.schedule': 'cosine' }, budget: { kind: 'seconds', amount: 3 } },
      'train.schedule: cosine ends at train.steps',
    ],
    [{ grid: { seed: [1] }, budgets: {} }, 'Unrecognized key: "budgets"; expected base, set, grid'],
  ])('one line: %j', async (fields, line) => {
    const result = await runInProcess('sweep', sweepFile('bad', fields), '--out', at('bad'));
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(line);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(existsSync(at('bad'))).toBe(false);
  });
});

/** As a process of its own, as its runs are. */
const sweep = (...args: string[]) => spawnProgram('sweep', ...args).done;

// Processes start slowly where other tests run beside them.
vi.setConfig({ testTimeout: 300_000 });

describe('a sweep', () => {
  const flags = ['--backend', 'wasm', '--json', '--parallel', '2'];
  let file: string;
  beforeAll(() => {
    file = sweepFile('real', {
      grid: { method: ['distillm', 'minillm'], seed: [1, 2] },
      methods: { distillm: { 'distillm.threshold': 0.7, 'distillm.capacity': 8 } },
      evaluate: { data: world.valid, seeds: [1], max_new_tokens: 4 },
    });
  });
  const four = ['distillm', 'minillm'].flatMap((m) => [`${m}_seed-1`, `${m}_seed-2`]);

  it('ends in a table, JSON, CSV and a report; a second call repeats nothing', async () => {
    const result = await sweep(file, '--out', at('whole'), ...flags);
    expect(result.code, result.stderr).toBe(0);
    const found = JSON.parse(result.stdout);
    expect(found.runs.map((row: { name: string }) => row.name)).toEqual(four);
    expect(found).toMatchObject({
      budget: 'equal optimizer steps: 4',
      student: `one for all: ${world.student}`,
      groups: [{ fields: { method: 'distillm' }, seeds: 2 }, { fields: { method: 'minillm' } }],
    });
    const runs = Object.fromEntries(found.runs.map((row: { name: string }) => [row.name, row]));
    for (const name of four) {
      expect(runs[name]).toMatchObject({ status: 'done', steps: 4 });
      expect(runs[name].metrics.rouge_l_sampled.mean).toBeGreaterThanOrEqual(0);
      const log = readFileSync(at('whole', name, 'metrics.jsonl'), 'utf8');
      const last = JSON.parse(log.trimEnd().split('\n').at(-2)!);
      expect(runs[name].teacher_tokens).toBe(last.teacher_tokens);
    }
    expect(runs['distillm_seed-1'].teacher_tokens).toBeGreaterThan(0);
    const table = readFileSync(at('whole', 'sweep.txt'), 'utf8');
    expect(table).toContain('budget: equal optimizer steps: 4');
    expect(table).toMatch(/minillm_seed-2 .* 4 /);
    expect(readFileSync(at('whole', 'sweep.csv'), 'utf8').split('\n')).toHaveLength(6);
    expect(readFileSync(at('whole', 'report.html'), 'utf8')).toContain('minillm_seed-2');

    const made = four.map((name) => statSync(at('whole', name, 'final', 'model.safetensors')).mtimeMs);
    const again = await sweep(file, '--out', at('whole'), ...flags);
    expect(again.code, again.stderr).toBe(0);
    expect(again.stderr).toContain('4 runs, 4 done already');
    expect(four.map((name) => statSync(at('whole', name, 'final', 'model.safetensors')).mtimeMs)).toEqual(
      made,
    );
    expect(JSON.parse(again.stdout).runs).toEqual(found.runs);
  });

  it('killed with its process gone and begun again, it ends with the same runs', async () => {
    const out = at('killed');
    const running = spawnProgram('sweep', file, '--out', out, ...flags);
    const rows = (name: string): number =>
      existsSync(join(out, name, 'metrics.jsonl'))
        ? readFileSync(join(out, name, 'metrics.jsonl'), 'utf8').split('\n').length
        : 0;
    // The third run is under way, so that one of the first two at least is done.
    while (rows(four[2]!) < 4) await wait(5);
    running.child.kill('SIGKILL');
    await running.done;
    const finished = four.filter((name) => existsSync(join(out, name, 'evaluation.json')));
    expect(finished.length).toBeGreaterThan(0);
    expect(finished.length).toBeLessThan(4);
    const before = finished.map((name) => statSync(join(out, name, 'evaluation.json')).mtimeMs);
    const result = await sweep(file, '--out', out, ...flags);
    expect(result.code, result.stderr).toBe(0);
    expect(finished.map((name) => statSync(join(out, name, 'evaluation.json')).mtimeMs)).toEqual(before);
    for (const name of four) {
      expect(fingerprintOfRun(join(out, name)), name).toEqual(fingerprintOfRun(at('whole', name)));
    }
    expect(readdirSync(join(out, 'logs')).filter((name) => name.endsWith('.pid'))).toEqual([]);
  });

  it('stopped by a signal it saves, says so, and goes on', async () => {
    const out = at('stopped');
    const long = sweepFile('long', { grid: { seed: [1, 2] }, set: { 'train.steps': 400, 'eval.every': 0 } });
    const running = spawnProgram('sweep', long, '--out', out, ...flags);
    const log = join(out, 'seed-1', 'metrics.jsonl');
    while (!existsSync(log) || readFileSync(log, 'utf8').split('\n').length < 8) await wait(5);
    running.child.kill('SIGINT');
    const { code, stderr } = await running.done;
    expect(code).toBe(130);
    expect(stderr.trimEnd().split('\n').at(-1)).toBe('minillm: stopped; the same command goes on');
    expect(readdirSync(join(out, 'seed-1', 'checkpoints')).length).toBeGreaterThan(0);
    expect(existsSync(join(out, 'seed-1', 'final'))).toBe(false);
  });

  it('a run that fails does not stop the others; exit code 1 and its line', async () => {
    const failing = sweepFile('failing', {
      grid: { 'train.lr': [0.01, 1e17] },
      set: { method: 'sft', 'train.clip': 0, 'train.steps': 6 },
    });
    const result = await sweep(failing, '--out', at('failing'), ...flags);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('1 of 2 runs failed (lr-100000000000000000)');
    const { runs } = JSON.parse(result.stdout);
    expect(runs.map((row: { status: string }) => row.status)).toEqual(['done', 'failed']);
    expect(runs[1].error).toMatch(/step \d; checkpoints saved before are intact/);
  });

  it('refuses a directory that holds runs of another configuration', async () => {
    const other = sweepFile('other', {
      grid: { method: ['distillm', 'minillm'], seed: [1, 2] },
      set: { 'train.lr': 0.5 },
    });
    const result = await sweep(other, '--out', at('whole'), ...flags);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('distillm_seed-1: was made with another configuration');
  });
});

describe('what is held equal', () => {
  it('teacher tokens: every run ends with the step that uses up its share', async () => {
    const file = sweepFile('tokens', {
      grid: { method: ['kd', 'minillm', 'seqkd', 'sft'] },
      set: { 'train.steps': 12 },
      budget: { kind: 'teacher_tokens', amount: 200 },
    });
    const result = await sweep(file, '--out', at('tokens'), '--backend', 'wasm', '--json');
    expect(result.code, result.stderr).toBe(0);
    const found = JSON.parse(result.stdout);
    expect(found.budget).toBe('equal tokens read and written by teachers for training: 200');
    for (const { name, teacher_tokens, steps, directory } of found.runs) {
      if (name === 'sft') {
        expect([teacher_tokens, steps]).toEqual([0, 12]);
        continue;
      }
      expect(teacher_tokens).toBeGreaterThanOrEqual(200);
      const log = readFileSync(join(directory, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
      const train = log.map((line) => JSON.parse(line)).filter((row) => row.phase === 'train');
      expect(train).toHaveLength(steps);
      expect(steps).toBeLessThan(12);
      if (steps > 1) expect(train.at(-2).teacher_tokens).toBeLessThan(200);
    }
  });

  it('seconds: no run begins a step after its time', async () => {
    const file = sweepFile('seconds', {
      grid: { method: ['kd', 'gkd'] },
      set: { 'train.steps': 100_000, 'eval.every': 0, 'checkpoint.every': 0 },
      budget: { kind: 'seconds', amount: 1 },
    });
    const result = await sweep(file, '--out', at('seconds'), '--backend', 'wasm', '--json');
    expect(result.code, result.stderr).toBe(0);
    for (const { train_seconds, steps, directory } of JSON.parse(result.stdout).runs) {
      expect(train_seconds).toBeGreaterThanOrEqual(1);
      expect(steps).toBeGreaterThan(1);
      const timing = readFileSync(join(directory, 'timing.jsonl'), 'utf8').trimEnd().split('\n');
      expect(JSON.parse(timing.at(-2)!).train_s).toBeLessThan(1);
    }
  });

  it('a student given as a shape is drawn once for all seeds', async () => {
    const shape = {
      family: 'gpt2',
      hidden_size: 8,
      layers: 1,
      heads: 2,
      max_positions: 24,
      tokenizer: world.teacher,
    };
    const file = sweepFile('shape', {
      set: { student: shape, 'train.steps': 0 },
      grid: { seed: [1, 2], method: ['sft'] },
    });
    const result = await sweep(file, '--out', at('shape'), '--backend', 'wasm', '--json');
    expect(result.code, result.stderr).toBe(0);
    const [a, b] = ['seed-1', 'seed-2'].map((name) =>
      sha256(at('shape', name, 'final', 'model.safetensors')),
    );
    expect(a).toBe(b);
  });
});
