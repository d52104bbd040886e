import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { fingerprintOfRun, runInProcess } from '../helpers/cli.js';
import { type FileWorld, worldConfig, writeConfig, writeFileWorld } from '../helpers/files.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('lengthen');
let world: FileWorld;
beforeAll(async () => {
  world = await writeFileWorld(place.path);
});
afterAll(place.remove);

const at = (name: string): string => join(place.path, name);
const constant = { steps: 6, batch_size: 4, lr: 0.01, warmup: 2, schedule: 'constant' };
const configure = (name: string, method: string, change: Record<string, unknown> = {}): string =>
  writeConfig(at(`${name}.yaml`), worldConfig(world, method, { train: constant, ...change }));
const train = (config: string, out: string, ...more: string[]) =>
  runInProcess('train', config, '--out', at(out), '--backend', 'wasm', ...more);

describe('a longer run', () => {
  it.each(['minillm', 'sft', 'gkd'])('%s: 6 steps and then 12 are the bytes of 12', async (method) => {
    const config = configure(method, method);
    expect(await train(config, `${method}-12`, '--quiet', '--set', 'train.steps=12')).toMatchObject({
      code: 0,
    });
    expect(await train(config, `${method}-6`, '--quiet')).toMatchObject({ code: 0 });
    const longer = await train(config, `${method}-6`, '--resume', '--set', 'train.steps=12');
    expect(longer.code, longer.stderr).toBe(0);
    expect(longer.stderr).toContain('note: train.steps was 6 and is 12 from here on');
    expect(longer.stderr).not.toContain('because it was the last');
    expect(fingerprintOfRun(at(`${method}-6`))).toEqual(fingerprintOfRun(at(`${method}-12`)));
    const text = (name: string): string => readFileSync(join(at(name), 'config.resolved.yaml'), 'utf8');
    expect(text(`${method}-6`)).toBe(text(`${method}-12`));
    // And the old length is behind it.
    const back = await train(config, `${method}-6`, '--resume', '--quiet');
    expect(back).toMatchObject({ code: 2 });
    expect(back.stderr).toContain('train.steps: 12 there, 6 here, and 12 steps are done');
  });

  it('says so where the last step was validated only because it was the last', async () => {
    const config = configure('odd', 'sft', { eval: { every: 4 } });
    await train(config, 'odd', '--quiet');
    const longer = await train(config, 'odd', '--resume', '--set', 'train.steps=8');
    expect(longer.code).toBe(0);
    expect(longer.stderr).toContain('note: step 6 was validated because it was the last; a run begun with 8');
  });

  it.each([
    [
      'a schedule that falls',
      'sft',
      { train: { ...constant, schedule: 'linear' } },
      'train.steps=12',
      /train\.steps: 6 there, 12 here, and train\.schedule linear/,
    ],
    [
      'gold_decay',
      'imitkd',
      { imitkd: { gold_decay: 0.5 } },
      'train.steps=12',
      /train\.steps: .* imitkd\.gold_decay follows/,
    ],
    ['distillm', 'distillm', {}, 'train.steps=12', /train\.steps: .* distillm takes fewer fresh samples/],
    ['another learning rate', 'sft', {}, 'train.lr=0.02', /\(train\.lr: 0\.01 there, 0\.02 here\)/],
    [
      'other validations',
      'sft',
      {},
      'eval.every=2',
      /eval\.every: 3 there, 2 here, which would have validated the 6 steps/,
    ],
  ])('refuses %s by name', async (name, method, change, set, line) => {
    const config = configure(name, method, change);
    expect(await train(config, name, '--quiet')).toMatchObject({ code: 0 });
    const before = fingerprintOfRun(at(name));
    const refused = await train(config, name, '--resume', '--quiet', '--set', set);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(line);
    expect(fingerprintOfRun(at(name))).toEqual(before);
    // What ends a run, or is kept of it, changes no step.
    const more = ['--set', 'checkpoint.keep=1', '--set', 'train.max_seconds=1000'];
    const kept = await train(config, name, '--resume', '--quiet', ...more);
    expect(kept.code, kept.stderr).toBe(0);
    rmSync(at(name), { recursive: true });
  });
});
