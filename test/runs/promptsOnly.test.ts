import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { selectionFor, withoutReferences } from '../../src/runs/selection.js';
import { runTraining } from '../../src/runs/train.js';
import { initBackend } from '../../src/tensor/backend.js';
import { methodNames, readsReferences } from '../../src/training/config.js';
import { runInProcess } from '../helpers/cli.js';
import { type FileWorld, jsonl, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { tinyExamples, tinyWorld, trainConfig } from '../helpers/training.js';

const backend = await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('prompts-only');
let world: FileWorld;
let prompts: string;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
  prompts = join(place.path, 'prompts.jsonl');
  const texts = readFileSync(world.train, 'utf8').trim().split('\n');
  writeFileSync(prompts, jsonl(texts.map((line) => ({ prompt: JSON.parse(line).instruction }))));
});
afterAll(place.remove);

type Fields = Record<string, unknown> & { method: string };
const without: Fields[] = [
  { method: 'minillm' },
  { method: 'opd' },
  { method: 'seqkd' },
  { method: 'gkd', gkd: { lambda: 1 } },
  { method: 'gkd', gkd: { lambda: 0.5, seq_kd: true } },
  { method: 'imitkd' },
];
const needing: Fields[] = [
  ...methodNames
    .filter((method) => !without.some((fields) => fields.method === method))
    .map((method) => ({ method })),
  { method: 'gkd', gkd: { lambda: 0.5 } },
  { method: 'imitkd', imitkd: { gold_decay: 0.5 } },
];

describe('a method reads references exactly where readsReferences says so', () => {
  it.each([...without, ...needing])('%j', async (fields) => {
    const config = { ...fields, train: { steps: 4 }, eval: { every: 0 } };
    const run = tinyWorld({ config });
    let read = 0;
    run.context.train = run.context.train.map((example) =>
      Object.defineProperty({ ...example }, 'responseIds', {
        get: () => {
          read++;
          return example.responseIds;
        },
      }),
    );
    await run.run();
    run.dispose();
    expect(read > 0).toBe(readsReferences(trainConfig(fields)));
  });
});

describe('rows of prompts only', () => {
  it.each(without)('%j trains and validates on them', async (fields) => {
    const name = `${fields.method}-${JSON.stringify(fields).length}`;
    const config = worldConfig(world, fields.method, {
      ...fields,
      data: { train: prompts, valid: prompts },
      train: { steps: 2, warmup: 0 },
      eval: { every: 1, prompts: 4 },
    });
    const lines: string[] = [];
    const out = join(place.path, name);
    const summary = await runTraining(
      await readTrainConfig(writeConfig(join(place.path, `${name}.yaml`), config), []),
      out,
      { backend, log: (line) => lines.push(line), quiet: true },
    );
    expect(lines).toContain(
      'note: 4 of 4 validation rows have no reference: rouge_l_sampled, lm_loss are not measured, best/ is chosen by reverse_kl_seq',
    );
    const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
    const valid = rows.map((row) => JSON.parse(row)).filter(({ phase }) => phase === 'valid');
    const best = Math.min(...valid.map((row) => row.valid_reverse_kl_seq as number));
    expect(summary.best).toMatchObject({ metric: 'reverse_kl_seq', value: best });
    expect(existsSync(join(out, 'best', 'model.safetensors'))).toBe(true);
    expect(Object.keys(valid[0])).not.toContain('valid_lm_loss');
  });

  it.each(needing)('%j refuses them by its name, and a validation set of them', async (fields) => {
    for (const data of [{ train: prompts }, { valid: prompts }]) {
      const config = worldConfig(world, fields.method, { ...fields, data });
      const file = writeConfig(join(place.path, 'refused.yaml'), config);
      const result = await runInProcess(
        'train',
        file,
        '--backend',
        'wasm',
        '--quiet',
        '--out',
        join(place.path, 'no'),
      );
      expect(result.code).toBe(2);
      expect(result.stderr).toContain(
        `prompts.jsonl:1: has no "output", and ${fields.method} needs one in every row`,
      );
    }
  });

  it('the command line does it too, with a report and a plan', async () => {
    const config = worldConfig(world, 'minillm', {
      data: { train: prompts, valid: prompts },
      train: { steps: 2, warmup: 0 },
    });
    const file = writeConfig(join(place.path, 'cli.yaml'), config);
    const out = join(place.path, 'cli');
    const result = await runInProcess('train', file, '--backend', 'wasm', '--json', '--quiet', '--out', out);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(result.stdout).best.metric).toBe('reverse_kl_seq');
    expect(existsSync(join(out, 'report.html'))).toBe(true);
    const plan = await runInProcess('plan', file, '--backend', 'wasm', '--json', '--quiet');
    expect(plan.code).toBe(0);
    expect(JSON.parse(plan.stdout).data).toMatchObject({ train_rows: 16, dropped_rows: 0 });
  });

  it('a choice by references is refused without them', async () => {
    const config = worldConfig(world, 'minillm', { data: { valid: prompts }, eval: { select: 'loss' } });
    const file = writeConfig(join(place.path, 'select.yaml'), config);
    const result = await runInProcess(
      'train',
      file,
      '--backend',
      'wasm',
      '--quiet',
      '--out',
      join(place.path, 'no'),
    );
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(
      'eval.select: loss needs a reference answer in every row of data.valid, and',
    );
  });
});

it('with a teacher behind a server nothing is left to choose best/ by, and the line says so', () => {
  const bare = tinyExamples(2).map((example) => ({ ...example, outputs: [] }));
  const remote = trainConfig({ method: 'opd', teacher: 'http://127.0.0.1:1', eval: { patience: 2 } });
  expect(selectionFor(remote, bare)).toBeUndefined();
  expect(withoutReferences(remote, bare)).toBe(
    '2 of 2 validation rows have no reference: rouge_l_sampled, lm_loss are not measured, no best/ is chosen, the result is final/, and eval.patience ends nothing',
  );
  expect(withoutReferences(remote, tinyExamples(2))).toBeUndefined();
});

describe('a reference that nothing reads', () => {
  it('drops no row for its length', async () => {
    const long = join(place.path, 'long.jsonl');
    const rows = Array.from({ length: 8 }, (_, i) => ({
      instruction: 'ab:',
      output: i % 2 ? 'ab' : 'h'.repeat(40),
    }));
    writeFileSync(long, jsonl(rows));
    const counts: Record<string, string | undefined> = {};
    for (const method of ['minillm', 'sft']) {
      const config = worldConfig(world, method, {
        data: { train: long },
        train: { steps: 0, warmup: 0 },
        rollout: { rollouts: 4 },
      });
      const lines: string[] = [];
      await runTraining(
        await readTrainConfig(writeConfig(join(place.path, `long-${method}.yaml`), config), []),
        join(place.path, `long-${method}`),
        { backend, log: (line) => lines.push(line), quiet: true },
      );
      counts[method] = lines.find((line) => line.startsWith('training data'));
    }
    expect(counts).toEqual({
      minillm: 'training data: 8 examples',
      sft: 'training data: 4 examples (4 over the token limits dropped)',
    });
  });
});
