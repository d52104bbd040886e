import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrainConfig, trainConfigFrom } from '../../src/runs/runConfig.js';
import { initBackend } from '../../src/tensor/backend.js';
import type { TrainConfigInput } from '../../src/training/config.js';
import { stepsOfEpochs, withSteps } from '../../src/training/epochs.js';
import { batchIndices, distinctIndices } from '../../src/training/order.js';
import { fingerprintOfRun, runInProcess, spawnProgram } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { trainConfig } from '../helpers/training.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('epochs');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const at = (name: string): string => join(place.path, name);
const rowsOf = (): number => readFileSync(world.train, 'utf8').trim().split('\n').length;
const epochs = { epochs: 0.5, batch_size: 4, lr: 0.01, schedule: 'constant' };
const configure = (name: string, method: string, change: Record<string, unknown> = {}): string => {
  const fields = worldConfig(world, method, { train: epochs, ...change }) as {
    train: Record<string, unknown>;
    data: Record<string, unknown>;
  };
  delete fields.train.steps;
  delete fields.train.warmup;
  if (change.data) delete fields.data.valid;
  return writeConfig(at(`${name}.yaml`), fields);
};
const train = (config: string, out: string, ...more: string[]) =>
  runInProcess('train', config, '--out', at(out), '--backend', 'wasm', ...more);

describe('steps of epochs', () => {
  it('are the batches that meet every row so often', () => {
    const config = trainConfig({ method: 'sft', train: { batch_size: 4 } });
    expect([1, 2, 0.1, 0.25].map((epochs) => stepsOfEpochs(config, epochs, 30))).toEqual([8, 15, 1, 2]);
    const met = new Set(Array.from({ length: 8 }, (_, step) => batchIndices(1, 'train', step, 30, 4)).flat());
    expect(met.size).toBe(30);
    const one = trainConfig({ method: 'sft', train: { batch_size: 1 } });
    expect(stepsOfEpochs(one, 0.1, 30)).toBe(3); // 0.1 · 30 is above 3 in floating point
  });

  it('are whole rounds where there are rounds; what a round cannot fill is left out of the epoch', () => {
    const rollout = { rollouts: 8, samples: 2, inner_epochs: 3 };
    const config = trainConfig({ method: 'minillm', rollout, train: { batch_size: 4 } });
    // 4 prompts a round, 7 rounds of 30 rows, 6 steps a round.
    expect([1, 2, 0.5, 0.1].map((epochs) => stepsOfEpochs(config, epochs, 30))).toEqual([42, 84, 24, 6]);
    const met = Array.from({ length: 7 }, (_, round) => distinctIndices(1, 'train', round, 30, 4)).flat();
    expect(new Set(met).size).toBe(28);
  });

  it('stand alone: either kind, the command line above the file, and no longer warm-up', async () => {
    const file = configure('alone', 'sft');
    const lines: string[] = [];
    const half = withSteps(await readTrainConfig(file, []), 40, (line) => lines.push(line));
    expect([half.train.steps, 'epochs' in half.train, lines]).toEqual([
      5,
      false,
      ['train.epochs 0.5 over 40 rows: 5 steps'],
    ]);
    expect((await readTrainConfig(file, ['train.steps=7'])).train).toMatchObject({ steps: 7 });
    expect((await readTrainConfig(file, ['train.steps=7'])).train.epochs).toBeUndefined();
    expect((await readTrainConfig(file, ['train.steps=7', 'train.epochs=2'])).train.epochs).toBe(2);
    const fields = (train: object) =>
      trainConfigFrom({
        method: 'sft',
        student: world.student,
        data: { train: world.train },
        train: { lr: 1, ...train },
      } as TrainConfigInput);
    await expect(fields({})).rejects.toThrow('train.steps: missing; say how many');
    await expect(fields({ steps: 1, epochs: 1 })).rejects.toThrow('train.epochs: stands beside train.steps');
    const warm = await fields({ epochs: 1, warmup: 9 });
    expect(() => withSteps(warm, 8, () => {})).toThrow(
      'train.warmup: 9 is more than the 1 steps of train.epochs 1',
    );
  });
});

describe('a run of epochs, without validation', () => {
  it.each(['minillm', 'sft'])(
    '%s: half an epoch and then a whole one are the bytes of one',
    async (method) => {
      const config = configure(method, method, { data: { train: world.train } });
      const whole = await train(config, `${method}-1`, '--quiet', '--set', 'train.epochs=1', '--json');
      expect(whole.code, whole.stderr).toBe(0);
      const summary = JSON.parse(whole.stdout);
      expect(summary.best).toBeNull();
      expect(summary.notes).toEqual([
        'no data.valid: nothing is validated, no best/ is chosen, the result is final/',
      ]);
      const half = await train(config, `${method}-half`);
      expect(half.code, half.stderr).toBe(0);
      expect(half.stderr).toContain('note: no data.valid: nothing is validated');
      expect(half.stderr).toMatch(/train\.epochs 0\.5 over \d+ rows: \d+ steps/);
      expect(half.stdout).toContain('note: no data.valid');
      const longer = await train(config, `${method}-half`, '--resume', '--set', 'train.epochs=1');
      expect(longer.code, longer.stderr).toBe(0);
      expect(longer.stderr).toContain(`is ${summary.steps} from here on`);
      expect(fingerprintOfRun(at(`${method}-half`))).toEqual(fingerprintOfRun(at(`${method}-1`)));
      const resolved = readFileSync(join(at(`${method}-1`), 'config.resolved.yaml'), 'utf8');
      expect(resolved).toContain(`steps: ${summary.steps}\n`);
      expect(resolved).not.toContain('epochs: 1\n');
      expect(existsSync(join(at(`${method}-1`), 'best'))).toBe(false);
      expect(readFileSync(join(at(`${method}-1`), 'metrics.jsonl'), 'utf8')).not.toContain('"valid"');
    },
  );

  it('a finished run resumed as it is does nothing, and cannot be made shorter', async () => {
    const before = fingerprintOfRun(at('sft-1'));
    const config = at('sft.yaml');
    expect(await train(config, 'sft-1', '--resume', '--quiet', '--set', 'train.epochs=1')).toMatchObject({
      code: 0,
    });
    expect(fingerprintOfRun(at('sft-1'))).toEqual(before);
    const shorter = await train(config, 'sft-1', '--resume', '--quiet');
    expect(shorter.stderr).toMatch(/train\.steps: \d+ there, \d+ here, and \d+ steps are done/);
  });

  it('is evaluated, reported and swept over like others', async () => {
    const run = at('sft-1');
    const evaluated = await runInProcess(
      ...['eval', '--model', join(run, 'final'), '--data', world.valid, '--run', run, '--seeds', '1'],
      ...[
        '--max-new-tokens',
        '4',
        '--max-prompt-tokens',
        '16',
        '--template',
        'none',
        '--backend',
        'wasm',
        '--quiet',
      ],
    );
    expect(evaluated.code, evaluated.stderr).toBe(0);
    const page = at('report.html');
    expect(await runInProcess('report', run, at('minillm-1'), '--out', page)).toMatchObject({ code: 0 });
    const text = readFileSync(page, 'utf8');
    expect(['>MiniLLM<', 'NaN'].map((part) => text.includes(part))).toEqual([true, false]);
    const sweep = (fields: object): string => {
      writeFileSync(
        at('sweep.yaml'),
        JSON.stringify({ base: at('sft.yaml'), grid: { seed: [1, 2] }, ...fields }),
      );
      return at('sweep.yaml');
    };
    const steps = await runInProcess('sweep', sweep({}), '--out', at('swept'));
    expect(steps.stderr).toContain('train.epochs are steps only once the data is read; give budget.amount');
    const best = sweep({ budget: { kind: 'none' }, evaluate: { data: world.valid, model: 'best' } });
    expect((await runInProcess('sweep', best, '--out', at('swept'))).stderr).toContain(
      'has no data.valid; take final',
    );
    const flags = ['--out', at('swept'), '--backend', 'wasm', '--quiet', '--json'];
    const swept = await spawnProgram('sweep', sweep({ budget: { kind: 'none' } }), ...flags).done;
    expect(swept.code, swept.stderr).toBe(0);
    expect(JSON.parse(swept.stdout).runs).toMatchObject([
      { status: 'done', steps: Math.ceil(rowsOf() / 8) },
      { status: 'done' },
    ]);
    expect(await runInProcess('sweep', sweep({ budget: { kind: 'none' } }), ...flags)).toMatchObject({
      code: 0,
    });
    const other = sweep({ budget: { kind: 'none' }, set: { train: undefined, 'train.epochs': 0.25 } });
    expect((await runInProcess('sweep', other, ...flags)).stderr).toContain(
      'was made with another configuration',
    );
  });

  it('what only validations decide is refused without them', async () => {
    const config = configure('none', 'sft', { data: { train: world.train } });
    await expect(readTrainConfig(config, ['eval.patience=1'])).rejects.toThrow(
      'eval.patience: 1 validations of none',
    );
    await expect(readTrainConfig(config, ['eval.select=loss'])).rejects.toThrow(
      'eval.select: loss chooses by',
    );
  });

  it('is planned', async () => {
    const config = configure('planned', 'sft', { data: { train: world.train } });
    const plan = await runInProcess('plan', config, '--json', '--no-calibrate', '--backend', 'wasm');
    expect(plan.code, plan.stderr).toBe(0);
    const { schedule } = JSON.parse(plan.stdout);
    expect(schedule).toMatchObject({ validations: 0, optimizer_steps: Math.ceil(rowsOf() / 8) });
    const blind = await runInProcess('plan', config, '--without-data', '--no-calibrate', '--backend', 'wasm');
    expect(blind.stderr).toContain('train.epochs: 0.5 epochs of how many rows is not known here');
  });
});
