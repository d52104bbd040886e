import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { newModelConfig } from '../../src/models/families.js';
import { forwardHidden, headLogits, initModel, type Model } from '../../src/models/model.js';
import { packSequences } from '../../src/models/packed.js';
import { type ObjectiveConfig, presets } from '../../src/objectives/presets.js';
import { batchOf, enumerate } from '../../src/oracle/enumeration.js';
import { gradientsOf, meanGradient } from '../../src/oracle/gradients.js';
import { float64Model, jacobianOf, logitsOf, readTree } from '../../src/oracle/network/float64Model.js';
import { pairOf } from '../../src/oracle/network/pair.js';
import { runOracle } from '../../src/oracle/oracle.js';
import { allPrefixes } from '../../src/oracle/world.js';
import type { Trajectory } from '../../src/rollout/trajectory.js';
import { initBackend } from '../../src/tensor/backend.js';
import { batchGradients } from '../../src/training/gradients.js';
import { policyBatches } from '../../src/training/policyBatches.js';
import { teacherLogits } from '../../src/training/supervised.js';
import { tinyModel } from '../helpers/models.js';
import { maxDifference, referenceLogits } from '../helpers/referenceModel.js';
import { type Choice, naiveMoments } from './naive.js';

await initBackend({ backend: 'cpu' });

const shape = { vocab: 3, horizon: 3, eos: 0 };
const prefixes = allPrefixes(shape);
const small = { vocab: 3, hidden: 4, layers: 1, positions: 6, std: 0.6 } as const;

/** A small model of any family, with what sets it apart switched on. */
function modelOf(family: 'qwen2' | 'qwen3' | 'mistral'): Model {
  const fresh = newModelConfig(family, {
    vocabSize: 3,
    hiddenSize: 8,
    layers: 2,
    heads: 2,
    kvHeads: 1,
    intermediateSize: 8,
    maxPositions: 8,
    tiedHead: false,
  });
  return initModel({ ...fresh, initStd: 0.5, ...(family === 'mistral' && { windows: [2, 0] }) }, 3);
}

describe('the float64 decoder', () => {
  it.each(['llama', 'gpt2'] as const)('%s: the logits of the reference of the tests', (family) => {
    for (const tied of [true, false]) {
      const model = tinyModel(1, { ...small, family, layers: 2, hidden: 8, tied });
      const own = float64Model(model, 'model');
      const reads = readTree(own, [2, 1], prefixes);
      prefixes.forEach((prefix, i) => {
        const expected = referenceLogits(model, [2, 1, ...prefix]).at(-1)!;
        expect(maxDifference(logitsOf(own, reads[i]!), expected)).toBeLessThan(1e-12);
      });
    }
  });

  it.each(['qwen2', 'qwen3', 'mistral'] as const)(
    '%s: those of the model that trains, to float32',
    (family) => {
      const model = modelOf(family);
      for (const [name, p] of Object.entries(model.params)) {
        // Fresh biases are 0 and gains 1: others tell whether they are used.
        if (p.rank === 1) model.params[name] = tf.add(p, tf.linspace(0.1, 0.7, p.size));
      }
      const own = float64Model(model, 'model');
      const reads = readTree(own, [2], prefixes);
      prefixes.forEach((prefix, i) => {
        const ids = Int32Array.of(2, ...prefix);
        const logits = tf.tidy(() =>
          headLogits(
            model.params,
            model.config,
            forwardHidden(model.params, model.config, ids, 1, ids.length),
          ),
        );
        const last = logits.dataSync().slice(-3);
        expect(maxDifference(logitsOf(own, reads[i]!), last)).toBeLessThan(1e-5);
      });
    },
  );

  it.each(['llama', 'gpt2', 'qwen3'] as const)('%s: the Jacobian by central differences', (family) => {
    const model = family === 'qwen3' ? modelOf(family) : tinyModel(2, { ...small, family });
    const own = float64Model(model, 'model');
    const reads = readTree(own, [2, 1], prefixes);
    const jacobians = reads.map((read) => jacobianOf(own, read));
    const logitsWith = (name: string, at: number, step: number): { x: number; logits: Float64Array[] } => {
      const data = model.params[name]!.dataSync().slice();
      data[at]! += step;
      const changed = { ...model.params, [name]: tf.tensor(data, model.params[name]!.shape) };
      const other = float64Model({ ...model, params: changed }, 'model');
      return { x: data[at]!, logits: readTree(other, [2, 1], prefixes).map((read) => logitsOf(other, read)) };
    };
    for (const { name, offset, size } of own.places) {
      // Every tensor, a few of its numbers.
      for (let at = 0; at < size; at += Math.max(1, Math.floor(size / 3))) {
        const [high, low] = [logitsWith(name, at, 2e-3), logitsWith(name, at, -2e-3)];
        jacobians.forEach((jacobian, s) => {
          high.logits[s]!.forEach((z, v) => {
            const slope = (z - low.logits[s]![v]!) / (high.x - low.x);
            const found = jacobian[v * own.size + offset + at]!;
            expect(Math.abs(found - slope), `${name}[${at}] ${found} ${slope}`).toBeLessThan(
              1e-4 * Math.max(1, Math.abs(slope)),
            );
          });
        });
      }
    }
  });
});

describe('gradients of a network', () => {
  const [student, teacher] = [tinyModel(4, small), tinyModel(5, { ...small, family: 'gpt2' })];
  const pair = pairOf(student, teacher, { horizon: 3, eos: 0, alpha: 0.3, prompts: [[1, 2]] }, 'pair');
  const enumeration = enumerate(pair.world, pair.jacobians);
  const plain: ObjectiveConfig = { ...presets.paper, alpha: 0.3, cliprange: 0, length_norm: 'off' };

  it.each<[string, Partial<ObjectiveConfig>]>([
    ['single step, rao-blackwell, prefix', { returns: 'rao-blackwell', importance: 'prefix' }],
    ['R_t alone, sampled', { single_step: false, include_r_t: true }],
    ['preset minillm', { ...presets.minillm, baseline: 'none', alpha: 0.3 }],
  ])('of one response, is that of the loss that training differentiates: %s', (_, overrides) => {
    const config = { ...plain, ...overrides };
    for (const sequence of enumeration.sequences.filter((__, i) => i % 4 === 1)) {
      const batch = batchOf(pair.world, [sequence], config.alpha);
      const expected = meanGradient(enumeration, gradientsOf([sequence], batch, config));
      const single = (x: ArrayLike<number>) => Float32Array.from(x);
      const trajectory: Trajectory = {
        promptIndex: 0,
        sample: 0,
        promptIds: Int32Array.of(1, 2),
        responseIds: sequence.tokens,
        studentLogprobs: single(batch.studentLogprobs[0]!),
        teacherLogprobs: single(batch.teacherLogprobs[0]!),
        behaviorLogprobs: single(batch.behaviorLogprobs[0]!),
        kl: single(batch.kl![0]!),
        collision: single(batch.collision![0]!),
        entropy: new Float32Array(sequence.tokens.length),
        finished: true,
        policyVersion: 0,
        streamKey: '',
      };
      const models = { student, teachers: [teacher] };
      const { micro } = policyBatches(models, [trajectory], config, {
        microBatchSize: undefined,
        teacherLogits: (part) => teacherLogits(models, packSequences(part))[0]!,
      });
      const { grads } = batchGradients(micro, student.params);
      const found = pair.places.flatMap(({ name }) => [...grads![name]!.dataSync()]);
      const size = Math.hypot(...expected);
      expect(size).toBeGreaterThan(0);
      // The loss is a mean over the tokens.
      const difference = Math.hypot(...found.map((x, i) => x * sequence.tokens.length - expected[i]!));
      expect(difference / size).toBeLessThan(1e-4);
    }
  });

  it('every claim holds in the parameters, and no more', () => {
    const result = runOracle(pair.world, { jacobians: pair.jacobians, samples: [2], cost: pair.cost });
    expect(result.left_out).toBe(0);
    for (const row of result.estimators) {
      if (row.claims_unbiased) expect(row.relative_bias, JSON.stringify(row)).toBeLessThan(1e-9);
      else expect(row.relative_bias, JSON.stringify(row)).toBeGreaterThan(1e-4);
    }
  });

  it('bias and variance are those of the naive enumeration, mapped by the Jacobian', () => {
    const entries = (of: 'logq' | 'logp') =>
      pair.world.states.map((state) => ({ prefix: state.prefix, logits: [...state[of]] }));
    const json = { ...shape, alpha: 0.3, student: entries('logq'), teacher: entries('logp') };
    const size = pair.jacobians[0]!.length / shape.vocab;
    const pull = (g: number[]): number[] =>
      Array.from({ length: size }, (_, p) =>
        g.reduce((sum, x, i) => sum + x * pair.jacobians[Math.floor(i / 3)]![(i % 3) * size + p]!, 0),
      );
    const result = runOracle(pair.world, { jacobians: pair.jacobians, samples: [2] });
    const exact = pull(result.gradient.flatMap(({ values }) => values));
    const rows = result.estimators.filter(
      (row, i) => i % 149 === 3 && (row.alpha > 0 || row.importance === 'none'),
    );
    expect(rows.length).toBeGreaterThan(10);
    for (const row of rows) {
      const choice = { ...(row as unknown as Choice), critic: row.values === 'wrong' ? 0.5 : 1 };
      const { mean, variance } = naiveMoments(json, { ...choice, lambda: 0.95, truncation: 1 }, pull);
      const bias = Math.hypot(...mean.map((x, i) => x - exact[i]!)) / Math.hypot(...exact);
      expect(Math.abs(row.relative_bias - bias), JSON.stringify(row)).toBeLessThan(1e-9);
      expect(Math.abs(row.variance / variance - 1), JSON.stringify(row)).toBeLessThan(1e-9);
    }
  });

  it('several prompts: the mean of their gradients and of their variances, baselines that need no batch', () => {
    const prompts = [[1, 2], [2]];
    const open = (some: number[][]) =>
      pairOf(student, teacher, { horizon: 3, eos: 0, alpha: 0, prompts: some }, 'pair');
    const run = ({ world, jacobians }: ReturnType<typeof open>) =>
      runOracle(world, { jacobians, samples: [2] });
    const both = run(open(prompts));
    const each = prompts.map((prompt) => run(open([prompt])));
    expect(both.kl).toBeCloseTo((each[0]!.kl + each[1]!.kl) / 2, 12);
    expect(both.sequences).toBe(each[0]!.sequences + each[1]!.sequences);
    const alone = ['none', 'value', 'leave-one-out', 'group-normalised'];
    let compared = 0;
    both.estimators.forEach((row, i) => {
      if (!alone.includes(row.baseline) || row.importance !== 'none') return;
      const [a, b] = each.map((result) => result.estimators[i]!.variance);
      expect(row.variance / ((a! + b!) / 2), JSON.stringify(row)).toBeCloseTo(1, 9);
      compared++;
    });
    expect(compared).toBeGreaterThan(50);
  });
});
