import { describe, expect, it } from 'vitest';
import { initBackend } from '../../src/tensor/backend.js';
import { methodNames, type TrainConfig, trainConfigSchema } from '../../src/training/config.js';
import { readers, unreadFields } from '../../src/training/fields.js';
import { tinyWorld, trainConfig } from '../helpers/training.js';

await initBackend({ backend: 'cpu' });

/** What makes a method read every field of its own. */
const curious: Record<string, object> = {
  minillm: { objective: { baseline: 'value', lm_coef: 1 }, rollout: { inner_epochs: 2 } },
  opd: { objective: { baseline: 'value', lm_coef: 1, kd_ratio: 0.5 }, rollout: { inner_epochs: 2 } },
  gkd: { gkd: { lambda: 0.5 } },
  distillm: { distillm: { lm_coef: 0.1, threshold: 1, capacity: 8 } },
};

/** Looked at where a run is opened, not by the method: models, text and rewards in memory, and what needs a tokenizer. */
const byTheRun = [
  'teacher',
  'data.corpus',
  'pretrain.length',
  'pretrain.teacher_cache',
  'rewards',
  'rollout.stop_strings',
];

describe('fields of single methods', () => {
  it.each(methodNames)('%s reads its own and no other', async (method) => {
    const world = tinyWorld({ config: { method, train: { steps: 4 }, ...curious[method] }, corpus: 8 });
    const read = new Set<string>();
    world.context.config = watched(world.context.config, '', read);
    await world.run({ evaluate: async (state) => void world.method.validated?.(world.context, state, 1) });
    world.method.objective?.(world.context, world.context.train);
    world.dispose();
    const covers = (field: string, path: string): boolean => path === field || path.startsWith(`${field}.`);
    for (const [field, names] of Object.entries(readers)) {
      if (byTheRun.includes(field)) continue;
      const found = [...read].some((path) => covers(field, path));
      expect(found, `${method} and ${field}`).toBe(names.includes(method));
    }
  });

  it('no field below the sections of methods is forgotten', () => {
    const shared = ['rollout.max_new_tokens', 'rollout.batch_size'];
    for (const section of ['objective', 'rollout', 'value', 'kd', 'gkd', 'imitkd', 'distillm', 'pretrain']) {
      const inner = trainConfigSchema.shape[section as 'kd'].unwrap();
      for (const name of Object.keys(inner.shape)) {
        const field = `${section}.${name}`;
        const known = section in readers || field in readers || shared.includes(field);
        expect(known, field).toBe(true);
      }
    }
  });

  it('names what is set and not read; defaults and the method’s own are no news', () => {
    const fields = {
      teacher: 'some',
      kd: { ratio: 0.3, temperature: 2 },
      gkd: { beta: 0.1, lambda: 0.5 },
      objective: { gamma: 0.9, baseline: 'none' },
      pretrain: { length: 32 },
    };
    expect(unreadFields(trainConfig({ method: 'kd', ...fields }))).toEqual([
      ...['objective.gamma', 'objective.baseline', 'rollout.rollouts', 'rollout.inner_epochs'],
      ...['gkd.beta', 'pretrain.length'],
    ]);
    expect(unreadFields(trainConfig({ method: 'gkd', ...fields }))).toEqual([
      ...['objective.gamma', 'objective.baseline', 'rollout.rollouts', 'rollout.inner_epochs'],
      ...['kd.ratio', 'pretrain.length'],
    ]);
    expect(unreadFields(trainConfig({ method: 'minillm', ...fields }))).toEqual(['kd.ratio', 'gkd.beta']);
    expect(unreadFields(trainConfig({ method: 'sft', teacher: 'some', rollout: rolloutDefaults }))).toEqual([
      'teacher',
    ]);
  });
});

const rolloutDefaults = { rollouts: 64, inner_epochs: 2 };

/** The configuration, with the dotted name of every field that is looked at written down. */
function watched(config: TrainConfig, prefix: string, read: Set<string>): TrainConfig {
  return new Proxy(config, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof key !== 'string') return value;
      const section = typeof value === 'object' && value !== null && !Array.isArray(value);
      if (section) return watched(value as TrainConfig, `${prefix}${key}.`, read);
      read.add(`${prefix}${key}`);
      return value;
    },
  });
}
