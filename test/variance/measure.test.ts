import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { packSequences } from '../../src/models/packed.js';
import { type ObjectiveConfig, presets, resolveObjective } from '../../src/objectives/presets.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { batchGradients } from '../../src/training/gradients.js';
import { policyBatches } from '../../src/training/policyBatches.js';
import { rescore } from '../../src/training/rescore.js';
import { teacherLogits } from '../../src/training/supervised.js';
import type { Setting } from '../../src/variance/condition.js';
import { exactSpace } from '../../src/variance/gradientSpace.js';
import { type Estimator, referenceEstimator } from '../../src/variance/grid.js';
import { type Measurement, measure } from '../../src/variance/measure.js';
import { varianceStatistics } from '../../src/variance/statistics.js';
import { tinyModel } from '../helpers/models.js';

await initBackend({ backend: 'wasm' });

/** Two samples of one prompt, vocabulary 3, at most 3 tokens: 15 responses, 225 pairs. */
const [vocab, horizon, samples] = [3, 3, 2];
const shape = { vocab, hidden: 4, layers: 1, positions: 8 };
const student = tinyModel(1, { ...shape, std: 0.8 });
const teacher = tinyModel(2, { ...shape, std: 1 });
const models = { student, teachers: [teacher] };
const prompt = { index: 0, ids: [1, 2] };
const base = resolveObjective('minillm', { length_norm: 'off', cliprange: 0 });

function allResponses(): number[][] {
  const done: number[][] = [];
  let open: number[][] = [[]];
  while (open.length > 0) {
    const longer = open.flatMap((row) => Array.from({ length: vocab }, (_, v) => [...row, v]));
    done.push(...longer.filter((row) => row.at(-1) === 0 || row.length === horizon));
    open = longer.filter((row) => row.at(-1) !== 0 && row.length < horizon);
  }
  return done;
}

/**
 * Mean and trace of the covariance of the gradient of a batch, over every pair of responses that can be drawn, each pair
 * through the loss that training differentiates. The rollout engine, and all of src/variance, take no part in it.
 */
function enumerated(objective: ObjectiveConfig): { mean: number[]; variance: number } {
  const space = exactSpace(student.params);
  const responses = allResponses().map((ids) => ({
    promptIds: Int32Array.from(prompt.ids),
    responseIds: Int32Array.from(ids),
  }));
  const trajectories = rescore(models, responses, objective).map(({ trajectory }) => trajectory);
  const probabilities = trajectories.map((t) => Math.exp(t.behaviorLogprobs.reduce((sum, x) => sum + x, 0)));
  expect(probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
  const mean = new Array<number>(space.parameters).fill(0);
  let second = 0;
  for (let i = 0; i < responses.length; i++) {
    for (let j = i; j < responses.length; j++) {
      const probability = (i === j ? 1 : 2) * probabilities[i]! * probabilities[j]!;
      const pair = [trajectories[i]!, { ...trajectories[j]!, sample: 1 }];
      const { micro } = policyBatches(models, pair, objective, {
        microBatchSize: samples,
        teacherLogits: (part) => teacherLogits(models, packSequences(part))[0]!,
      });
      const { grads } = batchGradients(micro, student.params);
      space.vector(grads!).forEach((x, n) => {
        mean[n]! += probability * x;
        second += probability * x * x;
      });
      disposeParams(grads!);
    }
  }
  return { mean, variance: second - mean.reduce((sum, x) => sum + x * x, 0) };
}

const setting: Setting = {
  models,
  prompts: new Array(120).fill([prompt]),
  warmupPrompts: [prompt],
  samples,
  seed: 1,
  maxNewTokens: horizon,
  eosIds: [0],
  batchSize: 64,
};

const estimator = (
  name: string,
  overrides: Partial<ObjectiveConfig>,
  sampling = 'independent',
): Estimator => ({
  name,
  objective: { ...base, alpha: 0, importance: 'none', ...overrides },
  sampling: sampling as Estimator['sampling'],
});

describe('measured against every pair of responses that can be drawn', () => {
  const list = [
    estimator('sampled, position', { returns: 'sampled' }),
    { ...estimator('preset minillm', {}), objective: presets.minillm },
  ];
  const reference = referenceEstimator(base);
  const measured = new Map(
    [...measure(setting, exactSpace(student.params), reference, list)].map((m) => [m.name, m]),
  );
  const exactReference = enumerated(reference.objective);

  it.each([reference, ...list])('$name', ({ name, objective }) => {
    const exact = name === reference.name ? exactReference : enumerated(objective);
    const { own, cross, cost } = measured.get(name)!;
    const found = varianceStatistics(
      { own, cross, reference: measured.get(reference.name)!.own, rollouts: samples },
      { seed: 1 },
    );
    const dot = (a: number[], b: number[]): number => a.reduce((sum, x, n) => sum + x * b[n]!, 0);
    const signal = dot(exact.mean, exact.mean);
    const truth = {
      variance: exact.variance,
      squared_norm: signal,
      signal_to_noise: signal / exact.variance,
      rollouts_needed: (samples * exact.variance) / signal,
      cosine:
        dot(exact.mean, exactReference.mean) /
        Math.sqrt((signal + exact.variance) * dot(exactReference.mean, exactReference.mean)),
    };
    for (const [key, value] of Object.entries(truth)) {
      const [low, high] = found[key as keyof typeof truth].interval;
      expect(low, `${key}: ${value} in [${low}, ${high}]`).toBeLessThan(value);
      expect(high, `${key}: ${value} in [${low}, ${high}]`).toBeGreaterThan(value);
    }
    expect(cost.teacher_tokens).toBe(prompt.ids.length + cost.response_tokens);
    expect(cost.student_tokens).toBe(2 * cost.teacher_tokens + prompt.ids.length);
  });
});

describe('measure', () => {
  const space = exactSpace(student.params);
  const short = {
    ...setting,
    prompts: [[prompt], [prompt], [prompt]],
    warmupPrompts: [prompt, { index: 1, ids: [2] }],
  };
  const reference = referenceEstimator(base);
  const list = [
    estimator('value', { baseline: 'value' }),
    estimator('gae and ema', { returns: 'gae', gae_lambda: 0.5, baseline: 'ema' }),
    estimator('antithetic', {}, 'antithetic'),
    estimator('stratified', {}, 'stratified'),
  ];
  const numbers = (all: Iterable<Measurement>): unknown[] => [...all].map(({ cost: _, ...rest }) => rest);

  it('the same seed gives the same products, and no tensor stays behind', () => {
    const before = tf.memory().numTensors;
    const first = numbers(measure(short, space, reference, list));
    expect(tf.memory().numTensors).toBe(before);
    expect(numbers(measure(short, space, reference, list))).toEqual(first);
    expect(numbers(measure({ ...short, seed: 2 }, space, reference, list))).not.toEqual(first);
  });

  it('passes over what is known; the rest has the same products as before', () => {
    const all = [...measure(short, space, reference, list)];
    let gradients = 0;
    const rest = [
      ...measure(short, space, reference, list, {
        known: new Set([reference.name, 'value', 'antithetic']),
        onGradient: () => gradients++,
      }),
    ];
    expect(rest.map(({ name }) => name)).toEqual(['gae and ema', 'stratified']);
    expect(gradients).toBe(9); // the reference's own were made again
    expect(numbers(rest)).toEqual(numbers(all.filter(({ name }) => rest.some((r) => r.name === name))));
  });

  it('other prompts in every repeat: what prompts differ in is noise, too', () => {
    const other = { index: 1, ids: [2] };
    const third = { index: 2, ids: [1, 1, 2] };
    const trace = (prompts: Setting['prompts']): number => {
      const [{ own, cross }] = [...measure({ ...short, prompts }, space, reference, [])] as [Measurement];
      return varianceStatistics({ own, cross, reference: own, rollouts: samples }, { seed: 1 }).variance
        .value;
    };
    const fixed = [prompt, other, third].map((p) => trace(new Array(12).fill([p])));
    const mean = fixed.reduce((a, b) => a + b) / 3;
    const fresh = Array.from({ length: 12 }, (_, m) => [[prompt, other, third][m % 3]!]);
    expect(trace(fresh)).toBeGreaterThan(1.2 * mean);
  });

  it('a value head and a moving average have learned something', () => {
    const own = new Map([...measure(short, space, reference, list)].map((m) => [m.name, m.own]));
    const plain = [...measure(short, space, reference, [estimator('none', { baseline: 'none' })])][1]!.own;
    expect(own.get('value')).not.toEqual(plain);
    expect(own.get('gae and ema')).not.toEqual(plain);
  });
});
