import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, saveModel } from '../../src/models/checkpoint.js';
import { type ObjectiveConfig, resolveObjective } from '../../src/objectives/presets.js';
import { type Enumeration, enumerate } from '../../src/oracle/enumeration.js';
import { estimatorMoments } from '../../src/oracle/estimator.js';
import { openPair, parsePair } from '../../src/oracle/network/pair.js';
import { dot } from '../../src/oracle/space.js';
import type { SamplingSchemeName } from '../../src/rollout/uniforms.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import type { Setting } from '../../src/variance/condition.js';
import { exactSpace } from '../../src/variance/gradientSpace.js';
import { type Estimator, referenceEstimator } from '../../src/variance/grid.js';
import { measure } from '../../src/variance/measure.js';
import { varianceStatistics } from '../../src/variance/statistics.js';
import { tinyModel } from '../helpers/models.js';
import { temporaryDirectory } from '../helpers/temporary.js';

await initBackend({ backend: 'wasm' });
const place = temporaryDirectory('variance-oracle');
afterAll(place.remove);

/** The mean over responses is what the oracle judges: no division by the random number of tokens, no clip. */
const base = resolveObjective('minillm', {
  aggregation: 'seq-mean-token-sum',
  length_norm: 'off',
  cliprange: 0,
});
const samples = 2;
const repeats = 100;
const prompt = [1, 2];

const cases: [sampling: SamplingSchemeName, objective: Partial<ObjectiveConfig>][] = [
  ['independent', { baseline: 'leave-one-out' }],
  ['independent', { alpha: 0.2, importance: 'prefix', w_on_reg: true, baseline: 'none' }],
  ['antithetic', { baseline: 'none' }],
  ['stratified', { returns: 'sampled', baseline: 'group-normalised' }],
];
const estimators = cases.map(
  ([sampling, objective], i): Estimator => ({
    name: `${i}`,
    sampling,
    objective: { ...base, alpha: 0, importance: 'none', ...objective },
  }),
);

describe('measured through the training loss, against the oracle on the same transformer', () => {
  let enumeration: Enumeration;
  const found = new Map<string, ReturnType<typeof varianceStatistics>>();
  beforeAll(async () => {
    const directories = [1, 2].map((seed) => join(place.path, String(seed)));
    for (const [i, directory] of directories.entries()) {
      const model = tinyModel(i + 1, { vocab: 3, hidden: 4, layers: 1, positions: 8, std: 0.8 + 0.2 * i });
      await saveModel(directory, model);
      disposeParams(model.params);
    }
    const [student, teacher] = directories as [string, string];
    const raw = { student, teacher, horizon: 3, eos: 0, prompts: [prompt] };
    const pair = await openPair(parsePair(raw, 'test'), 'test');
    enumeration = enumerate(pair.world, pair.jacobians);
    const models = { student: await loadModel(student), teachers: [await loadModel(teacher)] };
    const prompts = [{ index: 0, ids: prompt }];
    const setting: Setting = {
      models,
      prompts: new Array(repeats).fill(prompts),
      warmupPrompts: prompts,
      samples,
      seed: 1,
      maxNewTokens: 3,
      eosIds: [0],
      batchSize: 64,
    };
    const space = exactSpace(models.student.params);
    const all = [...measure(setting, space, referenceEstimator(base), estimators)];
    for (const { name, own, cross } of all) {
      const products = { own, cross, reference: all[0]!.own, rollouts: samples };
      found.set(name, varianceStatistics(products, { seed: 1 }));
    }
  });

  it.each(estimators)(
    '$sampling, $objective.returns, $objective.baseline',
    ({ name, objective, sampling }) => {
      const { expectation: mean, variance } = estimatorMoments(enumeration, objective, { sampling, samples });
      const { variance: measured, squared_norm } = found.get(name)!;
      // The oracle counts K times the variance of the mean of K.
      for (const [{ value, interval }, exact] of [
        [measured, variance / samples],
        [squared_norm, dot(mean, mean)],
      ] as const) {
        // Eight intervals of 95 % are looked at: twice as wide, none misses by chance.
        const slack = interval[1] - interval[0];
        expect(Math.abs(value - exact), `${exact}, measured ${value} in ${interval}`).toBeLessThan(slack);
        expect(slack / exact).toBeLessThan(1);
      }
    },
  );
});
