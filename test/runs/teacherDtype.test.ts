import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, saveModel } from '../../src/models/checkpoint.js';
import type { Plan } from '../../src/plan/plan.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { fingerprintOfRun, runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const { name: backend } = await initBackend();
const place = temporaryDirectory('teacher-dtype');
const at = (name: string): string => join(place.path, name);
const on = ['--backend', backend, '--quiet'];
let world: FileWorld;

/** A teacher that is stored in bfloat16: kept so or as float32, it is the same model. */
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  for (const teacher of [world.teacher, world.secondTeacher]) {
    const model = await loadModel(teacher);
    await saveModel(teacher, model, { dtype: 'bf16' });
    disposeParams(model.params);
  }
});
afterAll(place.remove);

async function run(name: string, method: string, change: Record<string, unknown>): Promise<string> {
  const out = at(name);
  const file = writeConfig(at(`${name}.yaml`), worldConfig(world, method, change));
  const { code, stderr } = await runInProcess('train', file, '--out', out, ...on);
  expect(code, stderr).toBe(0);
  return out;
}

async function refusal(method: string, change: Record<string, unknown>): Promise<string> {
  const file = writeConfig(at('refused.yaml'), worldConfig(world, method, change));
  const { code, stderr } = await runInProcess('train', file, '--out', at('refused'), ...on);
  expect(code).toBe(2);
  return stderr;
}

describe('teacher_dtype', () => {
  it.each([
    ['minillm', {}],
    ['seqkd', {}],
    ['gkd', { gkd: { lambda: 0.5, seq_kd: true } }],
    ['babyllama', {}],
  ] as const)(
    '%s: a run is that of a float32 teacher with the same weights, to the byte',
    async (method, more) => {
      const change = { ...more, train: { steps: 4, batch_size: 4, lr: 0.01, warmup: 2 } };
      const full = await run(`${method}-full`, method, change);
      const half = await run(`${method}-half`, method, { ...change, teacher_dtype: 'bfloat16' });
      expect(fingerprintOfRun(half)).toEqual(fingerprintOfRun(full));
    },
  );

  it('plan counts two bytes a number of the matrices', async () => {
    const parts = async (change: Record<string, unknown>) => {
      const file = writeConfig(at('plan.yaml'), worldConfig(world, 'minillm', change));
      const { code, stdout, stderr } = await runInProcess('plan', file, '--json', '--no-calibrate', ...on);
      expect(code, stderr).toBe(0);
      return (JSON.parse(stdout) as Plan).memory;
    };
    const [full, half] = [await parts({}), await parts({ teacher_dtype: 'bfloat16' })];
    const model = await loadModel(world.teacher);
    const matrices = Object.values(model.params).filter(({ rank }) => rank === 2);
    const saved = matrices.reduce(
      (sum, { shape }) => sum + shape[0]! * (4 * shape[1]! - 4 * Math.ceil(shape[1]! / 2)),
      0,
    );
    disposeParams(model.params);
    expect(full.teacher_weights - half.teacher_weights).toBe(saved);
    expect(half.student_weights).toBe(full.student_weights);
  });

  it('refuses a student of 16 bits, and a type for a teacher that is elsewhere', async () => {
    expect(await refusal('minillm', { student_dtype: 'bfloat16' })).toContain(
      'use float32, or train adapters (lora)',
    );
    expect(await refusal('kd', { teacher: 'http://127.0.0.1:1', teacher_dtype: 'bfloat16' })).toContain(
      'teacher_dtype: this teacher is behind a server, which keeps the weights; give --dtype to minillm serve',
    );
    expect(await refusal('kd', { teacher_dtype: 'int8' })).toContain('teacher_dtype');
  });
});

describe('--dtype and --teacher-dtype', () => {
  const file = (name: string, text: string): string => {
    writeFileSync(at(name), text);
    return at(name);
  };
  const output = async (...command: string[]): Promise<string> => {
    const { code, stdout, stderr } = await runInProcess(...command, ...on);
    expect(code, stderr).toBe(0);
    return stdout;
  };
  /** On a model that is stored in bfloat16 the flags change nothing, on one that is not they do. */
  const check = async (command: (model: string) => string[], flags: string[]): Promise<void> => {
    const [stored, plain] = [command(world.teacher), command(world.student)];
    expect(await output(...stored, ...flags)).toBe(await output(...stored));
    for (let i = 0; i < flags.length; i += 2)
      expect(await output(...plain, ...flags.slice(i, i + 2)), flags[i]).not.toBe(await output(...plain));
  };
  it('generate, score, eval and inspect print what they print of float32', async () => {
    const prompts = file('prompts.jsonl', jsonl([{ ids: [4, 9] }, { ids: [7] }]));
    const rows = file('rows.jsonl', jsonl([{ ids: [4, 9, 6, 2, 5] }, { ids: [7, 8] }]));
    const both = ['--dtype', 'bfloat16', '--teacher-dtype', 'bfloat16'];
    const sampling = ['--max-new-tokens', '5'];
    await check((m) => ['generate', '--model', m, '--mix-with', m, '--input', prompts, ...sampling], both);
    await check((m) => ['score', '--model', m, '--input', rows], both.slice(0, 2));
    const data = ['--data', world.valid, '--template', 'none', '--seeds', '1'];
    await check((m) => ['eval', '--model', m, '--teacher', m, ...data, ...sampling], both);
    const drawn = ['--prompts', prompts, '--json', ...sampling];
    await check((m) => ['inspect', '--student', world.student, '--teacher', m, ...drawn], both.slice(2));
  });
});
