import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Plan } from '../../src/plan/plan.js';
import { initBackend } from '../../src/tensor/backend.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('plan');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const backend = ['--backend', 'wasm'];

async function plan(method: string, change = {}, ...more: string[]): Promise<Plan> {
  const file = writeConfig(at('plan.yaml'), worldConfig(world, method, change));
  const result = await runInProcess('plan', file, '--json', ...backend, ...more);
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Plan;
}

describe('plan --json', () => {
  it('has every part, and times where the machine was measured', async () => {
    const found = await plan('minillm');
    expect(Object.keys(found)).toEqual([
      ...['method', 'machine', 'models', 'data', 'schedule', 'tokens_per_step', 'flops_per_step', 'flops'],
      ...['memory', 'disk', 'time', 'calibration', 'unknown'],
    ]);
    expect(found.models.map(({ role, weights }) => [role, weights])).toEqual([
      ['student', 'there'],
      ['teacher', 'there'],
    ]);
    const parts = [
      'student_rollout',
      'teacher_rollout',
      'student',
      'pretraining_teacher',
      'pretraining_student',
    ];
    expect(Object.keys(found.tokens_per_step)).toEqual(parts);
    expect(Object.keys(found.flops_per_step)).toEqual([...parts, 'total']);
    expect(Object.keys(found.time!.per_step)).toEqual([...parts, 'optimizer', 'total']);
    for (const seconds of Object.values(found.time!.per_step)) expect(seconds).toBeGreaterThan(0);
    expect(found.time!.training).toBeCloseTo(found.time!.per_step.total * found.schedule.optimizer_steps, 8);
    expect(found.time!.training_longest_responses).toBeGreaterThan(found.time!.training);
    expect(found.calibration).toHaveLength(2);
    expect(found.memory.fits).toBe(true);
  });

  it('counts what training counts: the tokens that the teacher reads, and rows', async () => {
    const change = { train: { steps: 4, batch_size: 5 }, eval: { every: 0 } };
    const found = await plan('kd', change, '--no-calibrate');
    const out = at('kd-run');
    const trained = await runInProcess('train', at('plan.yaml'), '--out', out, '--json', ...backend);
    expect(trained.code, trained.stderr).toBe(0);
    const summary = JSON.parse(trained.stdout) as { teacher_tokens: number };
    expect(found.tokens_per_step.teacher! * 4).toBeCloseTo(summary.teacher_tokens, 9);
    expect(found.data.counted).toBe(true);
    expect(found.data.train_rows).toBe(16);
    expect(found.time).toBeNull();
    expect(found.unknown).toContain('time: nothing was measured');
  });

  it('says how the batch is cut and how many rounds there are', async () => {
    const change = {
      train: { steps: 10, batch_size: 4, micro_batch_size: 3 },
      rollout: { rollouts: 8, inner_epochs: 2 },
      eval: { every: 4 },
      checkpoint: { every: 5 },
    };
    expect((await plan('minillm', change, '--no-calibrate')).schedule).toEqual({
      optimizer_steps: 10,
      global_batch: 4,
      micro_batch: 3,
      accumulation: 2,
      rounds: 3,
      rollouts: 24,
      rollouts_per_round: 8,
      steps_per_round: 4,
      inner_epochs: 2,
      epochs: 1.5,
      validations: 4,
      checkpoints: 2,
    });
  });

  it('needs no weights, and no data with --without-data: bounds then', async () => {
    const bare = at('bare');
    cpSync(world.student, bare, { recursive: true });
    rmSync(join(bare, 'model.safetensors'));
    const change = { student: bare, data: { train: 'nowhere.jsonl', max_prompt_tokens: 7, max_tokens: 12 } };
    const found = await plan('sft', change, '--without-data', '--no-calibrate');
    expect(found.models[0]!.weights).toBe('absent');
    expect(found.data).toMatchObject({
      counted: false,
      bounds_because: '--without-data',
      train_rows: null,
      train_tokens: null,
      mean_prompt_tokens: 7,
      mean_response_tokens: 5,
    });
    expect(found.tokens_per_step).toEqual({ student: 12 * found.schedule.global_batch });
  });

  it('gradient checkpointing: fewer activations, a third more operations in the blocks', async () => {
    const student = { hidden_size: 16, layers: 3, heads: 2, max_positions: 32, tokenizer: world.student };
    const off = await plan('sft', { student }, '--no-calibrate');
    const on = await plan('sft', { student, train: { gradient_checkpointing: true } }, '--no-calibrate');
    expect(on.models[0]!.weights).toBe('new');
    expect(off.memory.activations).toBe(off.memory.activations_without_checkpointing);
    expect(on.memory.activations).toBe(off.memory.activations_with_checkpointing);
    expect(on.memory.activations).toBeLessThan(off.memory.activations);
    const ratio = on.flops_per_step.student! / off.flops_per_step.student!;
    expect(ratio).toBeGreaterThan(1.2);
    expect(ratio).toBeLessThan(4 / 3);
  });

  it('plans every method', async () => {
    for (const method of ['reverse-kd', 'seqkd', 'babyllama', 'gkd', 'imitkd', 'distillm', 'opd']) {
      const found = await plan(method, {}, '--no-calibrate');
      expect(found.flops.total, method).toBeGreaterThan(0);
      expect(found.flops.before_first_step > 0, method).toBe(method === 'seqkd');
    }
  });
});

describe('plan, as a table', () => {
  it('has the parameters, the parts of a step and the memory', async () => {
    const file = writeConfig(at('table.yaml'), worldConfig(world, 'minillm'));
    const { code, stdout } = await runInProcess('plan', file, '--no-calibrate', ...backend);
    expect(code).toBe(0);
    expect(stdout).toMatch(/student: \w+ +[\d,]+ parameters, [\d,]+ in blocks/);
    for (const part of ['student rollout', 'pretraining student', 'largest (', 'not known:'])
      expect(stdout).toContain(part);
  });
});

describe('plan refuses', () => {
  const cases: [string, Record<string, unknown>, RegExp][] = [
    [
      'a directory that is not there',
      { student: '/nowhere/model' },
      /student: \/nowhere\/model does not exist/,
    ],
    ['data that are not there', { data: { train: '/nowhere/rows.jsonl' } }, /data\.train: .* does not exist/],
    ['an unknown field', { trian: {} }, /Unrecognized key/],
    [
      'a context that is too short',
      { data: { max_prompt_tokens: 300, max_tokens: 4000 } },
      /data\.max_tokens: 4000 is more than/,
    ],
  ];
  it.each(cases)('%s, in one line', async (_, change, message) => {
    const file = writeConfig(at('bad.yaml'), worldConfig(world, 'minillm', change));
    const { code, stderr, stdout } = await runInProcess('plan', file, ...backend, '--quiet');
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('weights that do not fit config.json, by their headers', async () => {
    const wrong = at('wrong');
    cpSync(world.student, wrong, { recursive: true });
    const config = JSON.parse(readFileSync(join(wrong, 'config.json'), 'utf8')) as Record<string, unknown>;
    const { writeFileSync } = await import('node:fs');
    writeFileSync(join(wrong, 'config.json'), JSON.stringify({ ...config, intermediate_size: 96 }));
    const file = writeConfig(at('bad.yaml'), worldConfig(world, 'minillm', { student: wrong }));
    const { code, stderr } = await runInProcess('plan', file, ...backend, '--quiet');
    expect(code).toBe(2);
    expect(stderr).toMatch(/has shape \[.*\], config\.json asks for \[/);
  });
});
