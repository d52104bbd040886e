import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/models/checkpoint.js';
import { loadMaterials } from '../../src/runs/materials.js';
import { readTrainConfig } from '../../src/runs/runConfig.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { methodNames } from '../../src/training/config.js';
import { runInProcess, sha256 } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('methods');
const at = (name: string): string => join(place.path, name);
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

interface Row {
  step: number;
  phase: string;
  valid_lm_loss?: number;
  valid_rouge_l_sampled?: number;
  valid_reverse_kl_token?: number;
  valid_objective?: number;
}

const train = (name: string, method: string, change: Record<string, unknown>) =>
  trainFile(name, writeConfig(at(`${name}.yaml`), worldConfig(world, method, change)));

async function trainFile(
  name: string,
  config: string,
  ...flags: string[]
): Promise<{ out: string; stderr: string; rows: Row[] }> {
  const out = at(name);
  const result = await runInProcess('train', config, '--out', out, '--backend', 'wasm', '--json', ...flags);
  expect(result.code, result.stderr).toBe(0);
  const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return { out, stderr: result.stderr, rows: rows.map((row) => JSON.parse(row) as Row) };
}

const weights = (directory: string): string => sha256(join(directory, 'model.safetensors'));

describe('training runs from files', () => {
  /** What a method is judged by on validation data where it is not `valid_objective`. */
  const judgedBy: Record<string, keyof Row> = {
    ...{ sft: 'valid_lm_loss', minillm: 'valid_reverse_kl_token', opd: 'valid_reverse_kl_token' },
  };

  it.each(methodNames)('%s: one line of a common configuration, and its objective falls', async (method) => {
    const common = {
      train: { steps: 12, batch_size: 8, lr: 0.03, warmup: 0, schedule: 'constant' },
      rollout: { rollouts: 16, inner_epochs: 2, max_new_tokens: 5 },
      ...{ eval: { every: 0 }, checkpoint: { every: 0 }, seed: 3 },
    };
    const config = writeConfig(at('common.yaml'), worldConfig(world, 'kd', common));
    // The gradient of opd is far noisier.
    const more = method === 'opd' ? ['--set', 'train.steps=40'] : [];
    const { rows } = await trainFile(method, config, '--set', `method=${method}`, ...more);
    const [first, last] = rows.filter(({ phase }) => phase === 'valid');
    const own = judgedBy[method] ?? 'valid_objective';
    expect(last!.step).toBe(method === 'opd' ? 40 : 12);
    expect(Number(last![own])).toBeLessThan(0.97 * Number(first![own]));
  });

  it('says which fields of other methods do nothing', async () => {
    const change = { gkd: { beta: 0.9 }, kd: { ratio: 0.3 }, train: { steps: 0, warmup: 0 } };
    const { stderr } = await train('notes', 'kd', change);
    expect(stderr).toMatch(/^note: kd does not read data\.corpus, .*gkd\.beta, pretrain\.length, .*$/m);
    expect(stderr).not.toContain('kd.ratio');
  });

  it('says that plain text is not read whose loss the preset leaves out, and reads it where it is asked for', async () => {
    const rows = (lm_coef: number) =>
      train(`text-${lm_coef}`, 'minillm', { objective: { lm_coef }, train: { steps: 1, warmup: 0 } });
    const without = await rows(0);
    expect(without.stderr).toMatch(/^note: minillm does not read data\.corpus \(its lm_coef is 0\)$/m);
    const asked = await rows(1);
    expect(asked.stderr).not.toContain('does not read');
    expect(weights(join(asked.out, 'final'))).not.toBe(weights(join(without.out, 'final')));
  });

  it('eval.patience ends a run that no longer gets better, saved as after its last step', async () => {
    // Nothing moves: no validation is better than the first.
    const still = {
      train: { steps: 9, lr: 1e-12, warmup: 0 },
      eval: { every: 2, patience: 2, select: 'loss' },
    };
    const { out, rows, stderr } = await train('patience', 'sft', { ...still, checkpoint: { every: 0 } });
    expect(rows.map((row) => `${row.phase} ${row.step}`)).toEqual([
      ...['valid 0', 'train 1', 'train 2', 'valid 2', 'train 3', 'train 4', 'valid 4'],
    ]);
    expect(stderr).toContain('eval.patience 2: no validation since step 0 was better: ended at step 4 of 9');
    expect(existsSync(join(out, 'checkpoints', '4', 'training-state'))).toBe(true);
    const metrics = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
    await trainFile('patience', at('patience.yaml'), '--resume');
    expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8')).toBe(metrics);
  });

  it('a student of a given shape, in the teacher’s vocabulary, from a JSON array of examples', async () => {
    const rows = readFileSync(world.train, 'utf8').trimEnd().split('\n');
    writeFileSync(at('train.json'), JSON.stringify(rows.map((row) => JSON.parse(row))));
    const shape = {
      family: 'gpt2',
      hidden_size: 8,
      layers: 1,
      heads: 2,
      max_positions: 20,
      tokenizer: world.teacher,
    };
    const { out } = await train('shape', 'kd', {
      student: shape,
      train: { steps: 1, warmup: 0 },
      data: { train: at('train.json') },
    });
    expect(await loadConfig(join(out, 'final'))).toMatchObject({
      family: 'gpt2',
      vocabSize: 15,
      hiddenSize: 8,
      eosIds: [0],
    });
  });

  it('sft keeps the student of the lowest validation loss, the others that of the highest Rouge-L', async () => {
    const change = {
      train: { steps: 7, lr: 0.15, warmup: 0, schedule: 'constant' },
      eval: { every: 1 },
      checkpoint: { every: 1, keep: 99 },
    };
    for (const [method, score] of [
      ['sft', (row: Row) => -row.valid_lm_loss!],
      ['kd', (row: Row) => row.valid_rouge_l_sampled!],
    ] as const) {
      const { out, rows } = await train(`best-${method}`, method, change);
      const valid = rows.filter((row) => row.phase === 'valid');
      const scores = valid.map(score);
      const best = valid[scores.indexOf(Math.max(...scores))]!.step;
      const expected = best === 0 ? world.student : join(out, 'checkpoints', String(best));
      expect(weights(join(out, 'best'))).toBe(weights(expected));
    }
  });

  it('says once where vocabularies are padded differently', async () => {
    const { stderr } = await train('padded', 'babyllama', { train: { steps: 1, warmup: 0 } });
    expect(
      stderr.match(/vocabularies of 15, 15, 17 ids \(student, teachers\): the 15 that all have count/g),
    ).toHaveLength(1);
  });

  it('train.gradient_checkpointing reaches the student alone and changes none of its bytes', async () => {
    const change = { train: { steps: 2, warmup: 0 } };
    const config = writeConfig(at('recompute.yaml'), worldConfig(world, 'minillm', change));
    const on = 'train.gradient_checkpointing=true';
    const { student, teachers } = await loadMaterials(await readTrainConfig(config, [on]), () => {});
    expect([student, ...teachers].map((model) => model.config.recompute)).toEqual([true, undefined]);
    for (const model of [student, ...teachers]) disposeParams(model.params);
    const { out } = await trainFile('recompute', config, '--set', on);
    const { out: plain } = await trainFile('no-recompute', config);
    expect(weights(join(out, 'final'))).toBe(weights(join(plain, 'final')));
  });

  it('steps: 0 validates, saves and is done', async () => {
    const { out, rows } = await train('none', 'sft', { train: { steps: 0, warmup: 0 } });
    expect(rows.map((row) => row.phase)).toEqual(['valid']);
    expect(weights(join(out, 'final'))).toBe(weights(world.student));
  });
});

describe('a run that fails', () => {
  it('exit code 1, one line with the step and the mend, the last good checkpoint kept', async () => {
    const change = {
      train: { steps: 6, lr: 1e17, warmup: 0, clip: 0 },
      eval: { every: 0 },
      checkpoint: { every: 1 },
    };
    const config = writeConfig(at('diverges.yaml'), worldConfig(world, 'sft', change));
    const result = await runInProcess(
      'train',
      config,
      '--out',
      at('diverges'),
      '--backend',
      'wasm',
      '--quiet',
    );
    expect(result.code).toBe(1);
    expect(result.stdout).toBe('');
    expect(result.stderr).toMatch(
      /^minillm: .* step \d; checkpoints saved before are intact; try a smaller train\.lr, .*\n$/,
    );
    expect(result.stderr.split('\n')).toHaveLength(2);
  });
});
