import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readSweep } from '../../src/runs/sweepConfig.js';
import { type SweepResults, sweepResults } from '../../src/runs/sweepResults.js';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, runInProcess, sha256, spawnProgram } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

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

  it('combines variants with the grid; the command line is stronger than the file, not than what tells runs apart', async () => {
    const file = sweepFile('variants', {
      set: { 'train.lr': 0.02 },
      methods: { kd: { 'train.lr': 0.03, 'train.batch_size': 2 } },
      variants: { plain: {}, soft: { 'kd.ratio': 0.9, 'train.lr': 0.04 } },
      grid: { seed: [1, 2] },
    });
    const { runs, axes, perStudent } = await readSweep(file, [
      'train.lr=0.01',
      'train.batch_size=4',
      'seed=7',
    ]);
    expect(axes).toEqual(['variant', 'seed']);
    expect(perStudent).toBe(false);
    expect(runs.map((run) => run.name)).toEqual([
      'plain_seed-1',
      'plain_seed-2',
      'soft_seed-1',
      'soft_seed-2',
    ]);
    expect(
      runs.map(({ config }) => [config.train.lr, config.train.batch_size, config.kd.ratio, config.seed]),
    ).toEqual([
      [0.01, 4, 0.5, 1],
      [0.01, 4, 0.5, 2],
      [0.04, 4, 0.9, 1],
      [0.04, 4, 0.9, 2],
    ]);
    expect(runs[2]!.fields).toEqual({ variant: 'soft', seed: 1 });
    const own = sweepFile('own', { variants: { a: {}, b: { student: 'other' } } });
    await expect(readSweep(own)).rejects.toThrow(/run b: .*other/);
    const clash = sweepFile('clash', { variants: { a: {} }, grid: { variant: [1] } });
    await expect(readSweep(clash)).rejects.toThrow(/grid\.variant: is no field/);
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
    [{ grid: { seed: [1] }, evaluate: {} }, 'evaluate.data: test is the test part of data.wordnet'],
    [{ grid: { seed: [1] }, evaluate: { data: 'no.jsonl' } }, 'no.jsonl does not exist'],
    [{ grid: { seed: [1] }, evaluate: { data: 'valid.jsonl', metrics: ['bleu'] } }, 'evaluate.metrics.0: '],
    [{ grid: { seed: Array.from({ length: 40 }, (_, i) => i), 'train.lr': Array(40).fill(1) } }, '1600 runs'],
    [{ grid: { seed: [1], '__proto__.x': [1] } }, 'Unrecognized key: "__proto__"'],
    [{ grid: [1, 2] }, 'grid: Invalid input: expected record'],
    [{ base: '../nowhere/kd.yaml', grid: { seed: [1] } }, 'cannot be read (ENOENT)'],
  ])('one line: %j', async (fields, line) => {
    const result = await runInProcess('sweep', sweepFile('bad', fields), '--out', at('bad'));
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(line);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(existsSync(at('bad'))).toBe(false);
  });
});

const flags = ['--backend', 'wasm', '--json'];

/** In a process of its own, as its runs are. */
const sweep = (file: string, out: string, ...more: string[]) =>
  spawnProgram('sweep', file, '--out', out, ...flags, ...more);

// Processes start slowly where other tests run beside them.
vi.setConfig({ testTimeout: 300_000 });

const rowsOf = (directory: string): Record<string, unknown>[] => {
  const file = join(directory, 'metrics.jsonl');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
};
const writtenAt = (...file: string[]): number => statSync(at(...file)).mtimeMs;

describe('a sweep of one student, given as a shape, over two seeds', () => {
  const out = at('killed');
  const fields = () => ({
    set: {
      ...{ method: 'minillm', 'train.steps': 30, 'eval.every': 15 },
      student: {
        ...{ family: 'gpt2', hidden_size: 8, layers: 1, heads: 2, max_positions: 24 },
        tokenizer: world.teacher,
      },
    },
    grid: { seed: [1, 2] },
  });
  const two = ['seed-1', 'seed-2'];

  it('killed with its process gone and begun again, it ends with the bytes of runs never interrupted', async () => {
    const file = sweepFile('real', fields());
    const running = sweep(file, out, '--parallel', '1');
    while (rowsOf(join(out, 'seed-2')).length < 3) await wait(2);
    running.child.kill('SIGKILL');
    await running.done;
    expect(existsSync(join(out, 'seed-1', 'final'))).toBe(true);
    expect(existsSync(join(out, 'seed-2', 'final'))).toBe(false);
    const first = writtenAt('killed', 'seed-1', 'final', 'model.safetensors');
    const { code, stdout, stderr } = await sweep(file, out, '--parallel', '1').done;
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('2 runs, 1 done already, 1 at a time');
    expect(writtenAt('killed', 'seed-1', 'final', 'model.safetensors')).toBe(first);
    expect(JSON.parse(stdout).measured_on).toBe('the last validation');
    expect(readdirSync(join(out, 'logs')).sort()).toEqual(['seed-1.log', 'seed-2.log']);
    for (const name of two) {
      // Here, in one go, from the configuration that the sweep wrote.
      const config = join(out, 'configs', `${name}.yaml`);
      const whole = await runInProcess('train', config, '--out', at('whole', name), ...flags);
      expect(whole.code, whole.stderr).toBe(0);
      expect(fingerprintOfRun(join(out, name)), name).toEqual(fingerprintOfRun(at('whole', name)));
    }
    const [one, other] = two.map((name) => rowsOf(join(out, name))[0]!.valid_lm_loss);
    expect(one).toBe(other); // one student for both seeds
    const weights = two.map((name) => sha256(join(out, name, 'final', 'model.safetensors')));
    expect(weights[0]).not.toBe(weights[1]);
  });

  it('measures what is trained, in a table, JSON, CSV and a report; a second call repeats nothing', async () => {
    const evaluate = { data: world.valid, seeds: [1], max_new_tokens: 4 };
    const file = sweepFile('measured', { ...fields(), evaluate });
    const made = two.map((name) => writtenAt('killed', name, 'final', 'model.safetensors'));
    const result = await sweep(file, out, '--parallel', '2').done;
    expect(result.code, result.stderr).toBe(0);
    const found = JSON.parse(result.stdout);
    expect(found).toMatchObject({
      budget: 'equal optimizer steps: 30',
      student: `one for all: ${join(out, 'student')}`,
      groups: [{ fields: {}, seeds: 2 }],
    });
    expect(found.runs.map((row: { name: string }) => row.name)).toEqual(two);
    // The teacher beside them, measured alike; the student that was drawn has learned nothing.
    expect(found.references.map((row: { name: string }) => row.name)).toEqual(['teacher']);
    expect(found.references[0].metrics.reverse_kl_seq.mean).toBe(0);
    expect(found.references[0].metrics.rouge_l_sampled.mean).toBeGreaterThanOrEqual(0);
    for (const row of found.runs) {
      expect(row).toMatchObject({ status: 'done', steps: 30 });
      expect(row.metrics.rouge_l_sampled.mean).toBeGreaterThanOrEqual(0);
      expect(row.metrics.forward_kl_token.mean).toBeGreaterThan(0);
      const last = rowsOf(row.directory).findLast(({ phase }) => phase === 'train')!;
      expect(row.teacher_tokens).toBe(last.teacher_tokens);
      expect(row.teacher_tokens).toBeGreaterThan(0);
    }
    const mean = (metric: string): number[] =>
      found.runs.map((row: { metrics: Record<string, { mean: number }> }) => row.metrics[metric]!.mean);
    const [a, b] = mean('lm_loss') as [number, number];
    expect(found.groups[0].metrics.lm_loss.mean).toBeCloseTo((a + b) / 2, 10);
    expect(found.groups[0].metrics.lm_loss.stderr).toBeCloseTo(Math.abs(a - b) / 2, 10);
    const table = readFileSync(join(out, 'sweep.txt'), 'utf8');
    expect(table).toContain('budget: equal optimizer steps: 30');
    expect(table).toMatch(/seed-2 .* 30 /);
    expect(table).toMatch(/^teacher .* - +- +-$/m);
    expect(readFileSync(join(out, 'sweep.csv'), 'utf8').split('\n')).toHaveLength(4);
    const page = readFileSync(join(out, 'report.html'), 'utf8');
    expect(page).toContain('seed-2');
    expect(page).toContain('<tr class="teacher"><th scope="row" data-v="Teacher">');

    // Nothing is left to do: no process is begun, so that this one will do.
    const measuredAt = two.map((name) => writtenAt('killed', name, 'evaluation.json'));
    const again = await runInProcess('sweep', file, '--out', out, ...flags);
    expect(again.code, again.stderr).toBe(0);
    expect(again.stderr).toContain('2 runs, 2 done already');
    expect(two.map((name) => writtenAt('killed', name, 'final', 'model.safetensors'))).toEqual(made);
    expect(two.map((name) => writtenAt('killed', name, 'evaluation.json'))).toEqual(measuredAt);
    expect(JSON.parse(again.stdout).runs).toEqual(found.runs);
    expect(JSON.parse(again.stdout).references).toEqual(found.references);
  });

  it('measures again what was measured with other settings', async () => {
    const evaluate = { data: world.valid, seeds: [1], max_new_tokens: 4 };
    const settings = join(out, 'configs', 'seed-1.evaluation.yaml');
    writeFileSync(settings, readFileSync(settings, 'utf8').replace('max_new_tokens: 4', 'max_new_tokens: 3'));
    const kept = writtenAt('killed', 'seed-2', 'evaluation.json');
    const before = writtenAt('killed', 'seed-1', 'evaluation.json');
    const result = await sweep(sweepFile('measured', { ...fields(), evaluate }), out).done;
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain('2 runs, 1 done already');
    expect(writtenAt('killed', 'seed-2', 'evaluation.json')).toBe(kept);
    expect(writtenAt('killed', 'seed-1', 'evaluation.json')).toBeGreaterThan(before);
    expect(readFileSync(settings, 'utf8')).toContain('max_new_tokens: 4');
  });

  it('refuses a directory that holds other runs, another student, or a sweep at work', async () => {
    const refused = async (change: Record<string, unknown>): Promise<string> => {
      const { set, grid } = fields();
      const file = sweepFile('other', { set: { ...set, ...change }, grid });
      const result = await runInProcess('sweep', file, '--out', out, ...flags);
      expect(result).toMatchObject({ code: 2, stdout: '' });
      return result.stderr;
    };
    expect(await refused({ 'train.lr': 0.5 })).toContain('seed-1: was made with another configuration');
    expect(await refused({ 'student.hidden_size': 16 })).toContain('student: was drawn from another shape');
    writeFileSync(join(out, 'logs', 'sweep.pid'), String(process.ppid));
    expect(await refused({})).toContain(`process ${process.ppid} runs a sweep there`);
    rmSync(join(out, 'logs', 'sweep.pid'));
  });
});

describe('a sweep', () => {
  it('stopped by a signal saves, says so, and can go on', async () => {
    const out = at('stopped');
    const file = sweepFile('long', { grid: { seed: [1, 2] }, set: { 'train.steps': 400, 'eval.every': 0 } });
    const running = sweep(file, out, '--parallel', '1');
    while (rowsOf(join(out, 'seed-1')).length < 8) await wait(5);
    running.child.kill('SIGINT');
    const { code, stderr } = await running.done;
    expect(code).toBe(130);
    expect(stderr.trimEnd().split('\n').at(-1)).toBe('minillm: stopped; the same command goes on');
    expect(readdirSync(join(out, 'seed-1', 'checkpoints')).length).toBeGreaterThan(0);
    expect(existsSync(join(out, 'seed-1', 'final'))).toBe(false);
    expect(existsSync(join(out, 'seed-2'))).toBe(false);
    expect(readdirSync(join(out, 'logs'))).toEqual(['seed-1.log']);
  });

  it('goes on where a run fails; exit code 1 and its line', async () => {
    const failing = sweepFile('failing', {
      grid: { 'train.lr': [1e17, 0.01], 'gkd.beta': [0.3] },
      set: { method: 'sft', 'train.clip': 0, 'train.steps': 6 },
    });
    const result = await sweep(failing, at('failing'), '--parallel', '2').done;
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('1 of 2 runs failed (lr-100000000000000000)');
    const { runs } = JSON.parse(result.stdout);
    expect(runs.map((row: { status: string }) => row.status)).toEqual(['failed', 'done']);
    expect(runs[0].error).toMatch(/step \d; checkpoints saved before are intact/);
    expect(readFileSync(at('failing', 'sweep.txt'), 'utf8')).toContain('lr-100000000000000000 (failed)');
    expect(readFileSync(at('failing', 'logs', 'lr-0.01.log'), 'utf8')).toContain(
      'note: sft does not read teacher',
    );
  });
});

describe('what is held equal', () => {
  /** The runs of a sweep, one after the other in this process, and its results from what they left. */
  const results = async (name: string, fields: Record<string, unknown>): Promise<SweepResults> => {
    const plan = await readSweep(sweepFile(name, fields));
    for (const { name: run, config } of plan.runs) {
      const file = writeConfig(at(name, 'configs', `${run}.yaml`), config);
      const result = await runInProcess('train', file, '--out', at(name, run), ...flags);
      expect(result.code, result.stderr).toBe(0);
    }
    return sweepResults(
      plan,
      plan.runs.map((run) => ({ run, directory: at(name, run.name) })),
    );
  };

  it('teacher tokens: every run ends with the step that uses up its share', async () => {
    const found = await results('tokens', {
      grid: { method: ['kd', 'minillm', 'seqkd', 'sft'] },
      set: { 'train.steps': 24 },
      budget: { kind: 'teacher_tokens', amount: 200 },
    });
    expect(found.budget).toBe('equal tokens read and written by teachers for training: 200');
    for (const { name, teacher_tokens, steps, directory } of found.runs) {
      if (name === 'sft') {
        expect([teacher_tokens, steps]).toEqual([0, 24]);
        continue;
      }
      expect(teacher_tokens).toBeGreaterThanOrEqual(200);
      const train = rowsOf(directory).filter(({ phase }) => phase === 'train');
      expect(train).toHaveLength(steps);
      expect(steps).toBeLessThan(24);
      if (steps > 1) expect(train.at(-2)!.teacher_tokens).toBeLessThan(200);
    }
  });

  it('seconds: no run begins a step after its time', async () => {
    const found = await results('seconds', {
      grid: { method: ['kd', 'gkd'] },
      set: { 'train.steps': 100_000, 'eval.every': 0, 'checkpoint.every': 0 },
      budget: { kind: 'seconds', amount: 0.5 },
    });
    for (const { train_seconds, steps, directory } of found.runs) {
      expect(train_seconds).toBeGreaterThanOrEqual(0.5);
      expect(steps).toBeGreaterThan(1);
      const timing = readFileSync(join(directory, 'timing.jsonl'), 'utf8').trimEnd().split('\n');
      // Written in whole milliseconds: 0.5 may stand for 0.4996.
      expect(JSON.parse(timing.at(-2)!).train_s).toBeLessThanOrEqual(0.5);
    }
  });
});
