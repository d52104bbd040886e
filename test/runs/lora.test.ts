import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { disposeModel } from '../../src/models/model.js';
import type { Plan } from '../../src/plan/plan.js';
import { loadMaterials } from '../../src/runs/materials.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { readSweep } from '../../src/runs/sweepConfig.js';
import { initBackend } from '../../src/tensor/backend.js';
import { trains } from '../../src/tensor/frozen.js';
import { methodNames } from '../../src/training/config.js';
import { type Outcome, runInProcess } from '../helpers/cli.js';
import {
  type FileWorld,
  worldConfig,
  writeConfig,
  writeFileWorld,
  writeTinyModel,
} from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('lora');
const at = (name: string): string => join(place.path, name);
afterAll(place.remove);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  writeFileSync(at('rows.jsonl'), '{"ids":[1,5,3,8,2,7]}\n');
  await train('sft', 'sft', { lora: { rank: 2 } });
});

const call = (...args: string[]): Promise<Outcome> => runInProcess(...args, '--backend', 'wasm', '--quiet');

async function train(name: string, method: string, change: object, ...more: string[]): Promise<string> {
  const config = writeConfig(at(`${name}.yaml`), worldConfig(world, method, { ...change }));
  const { code, stderr } = await call('train', config, '--out', at(name), ...more);
  expect(code, stderr).toBe(0);
  return at(name);
}

async function logprobs(...args: string[]): Promise<number[]> {
  const { code, stdout, stderr } = await call('score', '--input', at('rows.jsonl'), ...args);
  expect(code, stderr).toBe(0);
  return (JSON.parse(stdout) as { logprobs: number[] }).logprobs;
}

async function refusal(...args: string[]): Promise<string> {
  const { code, stderr } = await call(...args);
  expect(code).toBe(2);
  return stderr;
}

/** A file of adapters of rank 2, in bytes: of every map of the student (D 16, one key/value head of 8, F 32). */
const ADAPTERS = 4 * 2 * (2 * (16 + 16) + 2 * (16 + 8) + 3 * (16 + 32));

describe('a run with lora', () => {
  it.each(methodNames)('%s: trains, and leaves adapters', async (method) => {
    const out = await train(`m-${method}`, method, {
      lora: { rank: 2 },
      train: { steps: 2, warmup: 0 },
      eval: { every: 0 },
    });
    const names = ['adapter_config.json', 'adapter_model.safetensors', 'base.json', 'generation_config.json'];
    expect(readdirSync(join(out, 'final')).sort()).toEqual([
      ...names,
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect(await logprobs('--model', join(out, 'final'))).not.toEqual(
      await logprobs('--model', world.student),
    );
  });

  it('keeps gradients and moments of the adapters only', () => {
    const state = readFileSync(join(at('sft'), 'checkpoints/6/training-state/optimizer.safetensors'));
    const header = Number(state.readBigUInt64LE());
    expect(state.length - 8 - header).toBe(2 * ADAPTERS);
    expect(readFileSync(join(at('sft'), 'environment.json'), 'utf8')).toContain(
      `"trained_parameters": ${ADAPTERS / 4}`,
    );
  });

  it('a teacher that is its base is in memory once, frozen', async () => {
    const lines: string[] = [];
    const file = writeConfig(
      at('own.yaml'),
      worldConfig(world, 'minillm', { teacher: world.student, lora: { rank: 2 } }),
    );
    const before = tf.memory().numTensors;
    const { student, teachers } = await loadMaterials(await readTrainConfig(file, []), (line) =>
      lines.push(line),
    );
    expect(lines.join('\n')).toContain('is the base of the student: its weights are in memory once');
    const [teacher] = teachers;
    for (const [name, tensor] of Object.entries(teacher!.params)) {
      expect(tensor).toBe(student.base![name]);
      expect(trains(tensor)).toBe(false);
    }
    for (const model of [student, ...teachers]) disposeModel(model);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('goes on from adapters that another run left', async () => {
    const change = {
      student: join(at('sft'), 'best'),
      teacher: world.student,
      train: { steps: 2, warmup: 0 },
    };
    const out = await train('further', 'minillm', change);
    const base = (dir: string) => readFileSync(join(dir, 'base.json'), 'utf8');
    expect(base(join(out, 'final'))).toBe(base(join(at('sft'), 'best')));
    const file = writeConfig(at('twice.yaml'), worldConfig(world, 'sft', { ...change, lora: { rank: 2 } }));
    expect(await refusal('train', file, '--out', at('twice'))).toContain(
      'holds an adapter already; leave lora out',
    );
  });

  it('is refused a base that is another now, by --resume and by whoever loads it', async () => {
    const other = at('base');
    await writeTinyModel(other, 1);
    const out = await train('moved', 'sft', { student: other, lora: { rank: 2 } });
    const final = join(out, 'final');
    const before = await logprobs('--model', final);
    expect(await logprobs('--model', other, '--adapter', final)).toEqual(before);
    rmSync(other, { recursive: true });
    expect(await refusal('score', '--input', at('rows.jsonl'), '--model', final)).toContain(
      `its base ${JSON.stringify(other)} is no directory here`,
    );
    expect(await logprobs('--model', world.student, '--adapter', final)).toEqual(before); // the same weights elsewhere
    await writeTinyModel(other, 9);
    expect(await refusal('score', '--input', at('rows.jsonl'), '--model', final)).toContain(
      `was trained on another base than ${other}`,
    );
    const config = at('moved.yaml');
    expect(await refusal('train', config, '--out', out, '--resume')).toContain(
      'student is not what the run began with',
    );
    rmSync(join(out, 'final'), { recursive: true });
    const forced = await call('train', config, '--out', out, '--resume', '--changed-inputs');
    expect(forced.stderr).toContain('its adapters were trained on another base');
  });

  it.each([
    [
      { targets: ['c_attn'] },
      'lora.targets: "c_attn" is no part of it; linear maps of this llama model: q_proj, k_proj',
    ],
    [{ targets: 'lm_head' }, 'lora.targets: "lm_head" is no linear map inside the network'],
    [
      { modules_to_save: ['embed_tokens'] },
      'lora.modules_to_save: model.embed_tokens is tied to the output head',
    ],
    [{ rank: 0 }, 'lora.rank: '],
    [
      { dropout: 0.1 },
      'lora: Unrecognized key: "dropout"; expected rank, alpha, targets, modules_to_save, rslora',
    ],
  ])('%j is refused', async (lora, line) => {
    const file = writeConfig(at('bad.yaml'), worldConfig(world, 'sft', { lora }));
    expect(await refusal('train', file, '--out', at('bad'))).toContain(line);
    expect(existsSync(join(at('bad'), 'final'))).toBe(false);
  });

  it('is refused for a new student', async () => {
    const student = { hidden_size: 8, layers: 1, heads: 2, tokenizer: world.teacher };
    const file = writeConfig(at('new.yaml'), worldConfig(world, 'sft', { student, lora: {} }));
    expect(await refusal('train', file, '--out', at('new'))).toContain('lora: a new student has no weights');
  });
});

describe('commands on an adapter', () => {
  it('merged it is a plain model of the same numbers within 1e-5', async () => {
    const adapter = join(at('sft'), 'final');
    const merged = at('merged');
    const { code, stdout } = await call(
      'export',
      '--model',
      adapter,
      '--merge',
      '--dtype',
      'f32',
      '--out',
      merged,
    );
    expect([code, stdout]).toEqual([0, `${merged}: f32, merged\n`]);
    const [own, plain] = [await logprobs('--model', adapter), await logprobs('--model', merged)];
    for (const [i, x] of own.entries()) expect(Math.abs(plain[i]! - x)).toBeLessThan(1e-5);
    expect(await refusal('export', '--model', world.student, '--merge', '--out', at('none'))).toContain(
      `--merge: ${world.student} has no adapter`,
    );
    // Without --merge an adapter stays one; a model takes its place where one lies.
    await call('export', '--model', adapter, '--dtype', 'f32', '--out', at('copy'));
    expect(await logprobs('--model', at('copy'))).toEqual(own);
    await call('export', '--model', merged, '--dtype', 'f32', '--out', at('copy'));
    expect(await logprobs('--model', at('copy'))).toEqual(plain);
  });

  it('generate, eval and inspect take it alone, and beside its base', async () => {
    const adapter = join(at('sft'), 'final');
    writeFileSync(at('prompts.jsonl'), '{"prompt":"abc:"}\n');
    writeFileSync(at('rollouts.jsonl'), '{"prompt_ids":[5,9,2],"response_ids":[7,3,1]}\n');
    const ways = [
      ['--model', adapter],
      ['--model', world.student, '--adapter', adapter],
    ];
    const both = async (...args: string[]): Promise<string> => {
      const [one, two] = [await call(...args, ...ways[0]!), await call(...args, ...ways[1]!)];
      expect([one.code, two.code], one.stderr + two.stderr).toEqual([0, 0]);
      expect(two.stdout).toBe(one.stdout);
      return one.stdout;
    };
    const cut = ['--max-new-tokens', '4'];
    await both('generate', '--input', at('prompts.jsonl'), ...cut);
    await both('eval', '--data', world.valid, '--template', 'none', '--seeds', '1', ...cut);
    const inspected = await call(
      'inspect',
      '--student',
      adapter,
      '--teacher',
      world.student,
      '--rollouts',
      at('rollouts.jsonl'),
      '--json',
    );
    const norms = (JSON.parse(inspected.stdout) as { param_grad_norms: object }).param_grad_norms;
    expect(Object.keys(norms).every((name) => /lora_[AB]\.weight$/.test(name))).toBe(true);
  });

  it('an adapter without a tokenizer is read with that of its base', async () => {
    const bare = at('bare');
    cpSync(join(at('sft'), 'final'), bare, { recursive: true });
    rmSync(join(bare, 'tokenizer.json'));
    writeFileSync(at('text.jsonl'), '{"prompt":"abc:","response":"cba"}\n');
    const score = async (model: string) =>
      (await call('score', '--model', model, '--input', at('text.jsonl'))).stdout;
    expect(await score(bare)).toBe(await score(join(at('sft'), 'final')));
  });

  it('plan: gradients and moments of the adapters, and a shared base once', async () => {
    const plan = async (change: object): Promise<Plan> => {
      const file = writeConfig(
        at('plan.yaml'),
        worldConfig(world, 'minillm', { teacher: world.student, ...change }),
      );
      const { code, stdout, stderr } = await call('plan', file, '--json');
      expect(code, stderr).toBe(0);
      return JSON.parse(stdout) as Plan;
    };
    const [whole, own] = [await plan({}), await plan({ lora: { rank: 2 } })];
    expect(own.models.map(({ trained, shared }) => [trained, shared])).toEqual([
      [ADAPTERS / 4, undefined],
      [undefined, true],
    ]);
    expect(own.memory.teacher_weights).toBe(0);
    expect(own.memory.student_weights).toBe(whole.memory.student_weights + ADAPTERS);
    expect(own.memory.adam_moments).toBe(2 * ADAPTERS);
    expect(own.memory.gradients / own.memory.adam_moments).toBe(
      whole.memory.gradients / whole.memory.adam_moments,
    );
    expect(own.disk).toBeLessThan(whole.disk);
    expect(own.time!.per_step.total).toBeGreaterThan(0);
  });

  it('a sweep varies what is set of it', async () => {
    const file = writeConfig(at('sweep.yaml'), {
      base: 'sweep-base.yaml',
      grid: { 'lora.rank': [1, 2] },
    });
    writeConfig(at('sweep-base.yaml'), worldConfig(world, 'sft', { train: { steps: 1, warmup: 0 } }));
    const { runs } = await readSweep(file);
    expect(runs.map(({ name, config }) => [name, config.lora!.rank])).toEqual([
      ['rank-1', 1],
      ['rank-2', 2],
    ]);
  });
});
