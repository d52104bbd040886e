import { beforeEach, describe, expect, it, vi } from 'vitest';
import * as cache from '../../src/models/cache.js';
import { type Prompt, type RolloutOptions, rollout } from '../../src/rollout/engine.js';
import { plainSampling } from '../../src/rollout/sampling.js';
import { initBackend } from '../../src/tensor/backend.js';
import { tinyModel } from '../helpers/models.js';

vi.mock('../../src/models/cache.js', async (original) => {
  const real = await original<typeof cache>();
  return { ...real, prefill: vi.fn(real.prefill), decodeStep: vi.fn(real.decodeStep) };
});
const prefills = vi.mocked(cache.prefill);
const steps = vi.mocked(cache.decodeStep);

await initBackend({ backend: 'cpu' });
const student = tinyModel(1, { vocab: 12, layers: 1 });
const teacher = tinyModel(2, { vocab: 12, layers: 1 });

const options: RolloutOptions = {
  ...plainSampling,
  samples: 4,
  maxNewTokens: 12,
  eosIds: [3],
  seed: 2,
  round: 0,
  batchSize: 12,
  policyVersion: 0,
};
const prompts: Prompt[] = [
  { index: 0, ids: [1, 2] },
  { index: 1, ids: [5] },
  { index: 2, ids: [5, 6, 7] },
];

beforeEach(() => {
  prefills.mockClear();
  steps.mockClear();
});

describe('the work of a rollout', () => {
  it('the samples of a prompt share one prefill, in each of the two models', () => {
    const found = rollout(student, prompts, { ...options, teacher: { model: teacher, alpha: 0.2 } });
    expect(found).toHaveLength(12);
    // model, rows, padded length
    expect(prefills.mock.calls.map(([model, , , rows, length]) => [model, rows, length])).toEqual([
      [student, 3, 3],
      [teacher, 3, 3],
    ]);
  });

  it('finished responses leave the batch', () => {
    const found = rollout(student, prompts, options);
    const sizes = steps.mock.calls.map(([, , tokens]) => tokens.length);
    const alive = sizes.map((_, k) => found.filter((t) => t.responseIds.length > k + 1).length);
    expect(sizes[0]).toBeGreaterThan(sizes.at(-1)!);
    sizes.forEach((size, k) => {
      expect(size).toBeGreaterThanOrEqual(alive[k]!);
      // At most a quarter of the rows is carried along, so a step is never mostly waste.
      expect(0.75 * size).toBeLessThan(Math.max(1, alive[k]!));
    });
    expect(steps.mock.calls).toHaveLength(Math.max(...found.map((t) => t.responseIds.length)) - 1);
  });

  it('waiting prompts take the rows of finished responses: fewer steps than batch after batch', () => {
    const whole = rollout(student, prompts, options);
    prefills.mockClear();
    steps.mockClear();
    const found = rollout(student, prompts, { ...options, batchSize: 4 });
    expect(found).toEqual(whole);
    const lengths = found.map((t) => t.responseIds.length);
    const byPrompt = [0, 4, 8].map((i) => Math.max(...lengths.slice(i, i + 4)));
    expect(steps.mock.calls.length).toBeLessThan(byPrompt.reduce((sum, n) => sum + n - 1, 0));
    for (const [, , tokens] of steps.mock.calls) expect(tokens.length).toBeLessThanOrEqual(4);
    // Every prompt is read once, but for the one whose samples do not fit together.
    expect(prefills.mock.calls.reduce((sum, [, , , rows]) => sum + rows, 0)).toBeLessThanOrEqual(12);
  });

  it('reports progress whenever responses end', () => {
    const seen: [number, number][] = [];
    rollout(student, prompts, { ...options, batchSize: 5, onProgress: (...args) => seen.push(args) });
    expect(seen.at(-1)).toEqual([12, 12]);
    seen.slice(1).forEach(([done], i) => {
      expect(done).toBeGreaterThan(seen[i]![0]);
    });
  });
});
