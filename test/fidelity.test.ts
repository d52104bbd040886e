import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { schedules } from '../src/optim/schedules.js';
import { trainConfigSchema } from '../src/training/config.js';
import { objectiveOf } from '../src/training/minillm.js';
import { pairs } from './training/inspect.suite.js';

const page = (name: string): string => readFileSync(resolve(import.meta.dirname, '../docs', name), 'utf8');

describe('docs/fidelity.md', () => {
  const text = page('fidelity.md');
  const rows = text.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| official'));

  it('has the whole implementation', () => expect(rows.length).toBeGreaterThan(45));

  it.each(rows.map((row) => [row.slice(2, 80), row]))('%s… is pinned by tests that exist', (_, row) => {
    const files = [
      ...row
        .split('|')
        .at(-2)!
        .matchAll(/`([\w/.]+\.ts)`/g),
    ].map((match) => match[1]!);
    expect(files).not.toEqual([]);
    for (const file of files) expect(existsSync(resolve(import.meta.dirname, file)), file).toBe(true);
  });

  it('counts the cases', () => {
    expect(text).toContain(`on ${pairs.reduce((sum, pair) => sum + pair.cases.length, 0)} cases`);
  });
});

describe('the published round in docs/minillm.md', () => {
  const yaml = page('minillm.md').match(/```yaml\n([\s\S]*?)```/)![1]!;
  const config = trainConfigSchema.parse({
    method: 'minillm',
    student: 'init/gpt2-120M',
    teacher: 'sft/gpt2-1.5B',
    ...parse(yaml),
  });

  it('is that of the official scripts', () => {
    const { train, rollout, data, pretrain, eval: validation } = config;
    expect(train).toMatchObject({ steps: 5000, batch_size: 64, lr: 5e-6, warmup: 100, schedule: 'constant' });
    expect(train).toMatchObject({ weight_decay: 1e-6, betas: [0.9, 0.95], eps: 1e-8, clip: 1 });
    expect(rollout).toMatchObject({ rollouts: 256, inner_epochs: 4, samples: 1, top_k: 0, top_p: 1 });
    expect(data).toMatchObject({ max_prompt_tokens: 256, max_tokens: 512, template: 'alpaca', bos: false });
    expect(rollout.max_new_tokens).toBe(256);
    expect(pretrain.length).toBe(512);
    expect(pretrain.batch_size ?? train.batch_size).toBe(64);
    expect(validation.every).toBe(100);
    // Padded whitening over the 256 slots of the generation buffer.
    expect(objectiveOf({ config })).toMatchObject({
      whiten: 'padded',
      max_response: 256,
      alpha: 0.2,
      gamma: 0.95,
    });
  });

  it('its learning rate: 100 steps up, then constant', () => {
    const { lr: peak, warmup, steps } = config.train;
    const rate = schedules[config.train.schedule]({ peak, warmup, steps, floor: 0 });
    const expected = { 1: 5e-8, 50: 2.5e-6, 100: 5e-6, 5000: 5e-6 };
    for (const [update, lr] of Object.entries(expected)) expect(rate(Number(update) - 1)).toBeCloseTo(lr, 12);
  });
});
