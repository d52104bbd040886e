import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../src/models/checkpoint.js';
import { resolveObjective } from '../../src/objectives/presets.js';
import { disposeParams } from '../../src/tensor/params.js';
import { type Inspection, inspectStep } from '../../src/training/inspect.js';
import { rescore, type SampledResponse } from '../../src/training/rescore.js';
import type { Models } from '../../src/training/supervised.js';

export const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));

export interface Row {
  prompt_ids: number[];
  response_ids: number[];
  old_logprobs?: number[];
  teacher_logprobs?: number[];
  teacher_logprobs_t?: number[];
}

export interface Pair {
  student: string;
  teacher: string;
  rollouts: Record<string, Row[]>;
  texts: number[][];
  cases: {
    preset: string;
    set: Record<string, unknown>;
    rollouts: string;
    texts: boolean;
    expected: Inspection;
  }[];
}

/** Made by test/fixtures/inspect/make.py in torch, float64. */
export const pairs = JSON.parse(readFileSync(`${fixtures}inspect/cases.json`, 'utf8')) as Pair[];

const lists = [
  ...(['w', 'rewards', 'returns', 'advantages'] as const),
  ...(['logprobs_new', 'ratio', 'kl', 'pg_per_token'] as const),
];
const scalars = [
  ...(['pg_loss', 'reg_loss', 'ent_loss', 'lm_loss', 'ds_loss', 'pt_loss', 'total_loss'] as const),
  ...(['clipped_fraction', 'tokens'] as const),
];

function response(row: Row): SampledResponse {
  return {
    promptIds: Int32Array.from(row.prompt_ids),
    responseIds: Int32Array.from(row.response_ids),
    ...(row.old_logprobs && { oldLogprobs: row.old_logprobs }),
    ...(row.teacher_logprobs && { teacherLogprobs: row.teacher_logprobs }),
    ...(row.teacher_logprobs_t && { teacherLogprobsT: row.teacher_logprobs_t }),
  };
}

/** Every number 1e-4 from torch's, gradient norms 1e-3 of theirs. */
export function expectSame(found: Inspection, expected: Inspection): void {
  for (const name of lists) {
    expect(found[name].map((row) => row.length)).toEqual(expected[name].map((row) => row.length));
    expected[name].forEach((row, b) => {
      row.forEach((x, t) => {
        expect(Math.abs(found[name][b]![t]! - x), `${name} of response ${b}, token ${t}: ${x}`).toBeLessThan(
          1e-4,
        );
      });
    });
  }
  for (const name of scalars) expect(Math.abs(found[name] - expected[name]), name).toBeLessThan(1e-4);
  expect(Math.abs(found.grad_norm / expected.grad_norm - 1), 'grad_norm').toBeLessThan(1e-3);
  expect(Object.keys(found.param_grad_norms).sort()).toEqual(Object.keys(expected.param_grad_norms).sort());
  for (const [name, norm] of Object.entries(expected.param_grad_norms)) {
    // A key bias moves all scores of a query alike: its gradient is 0 but for rounding.
    const slack = 1e-3 * norm + 1e-6 * expected.grad_norm;
    expect(Math.abs(found.param_grad_norms[name]! - norm), `gradient of ${name}: ${norm}`).toBeLessThan(
      slack,
    );
  }
}

export function inspectSuite(): void {
  describe.each(pairs)('$student ← $teacher', (pair) => {
    let models: Models;
    beforeAll(async () => {
      models = {
        student: await loadModel(`${fixtures}${pair.student}`),
        teachers: [await loadModel(`${fixtures}${pair.teacher}`)],
      };
    });
    afterAll(() => {
      for (const { params } of [models.student, ...models.teachers]) disposeParams(params);
    });
    const run = (c: Pair['cases'][number], microBatchSize?: number): Inspection => {
      const objective = resolveObjective(c.preset, c.set);
      const records = rescore(models, pair.rollouts[c.rollouts]!.map(response), objective, microBatchSize);
      return inspectStep(
        models,
        records.map((r) => r.trajectory),
        c.texts ? pair.texts.map((ids) => Int32Array.from(ids)) : [],
        objective,
        microBatchSize,
      );
    };

    it.each(
      pair.cases.map(
        (c) =>
          [`${c.preset}, ${c.rollouts}${c.texts ? ' + texts' : ''}, ${JSON.stringify(c.set)}`, c] as const,
      ),
    )('%s', (_, c) => {
      const before = tf.memory().numTensors;
      expectSame(run(c), c.expected);
      expect(tf.memory().numTensors).toBe(before);
    });

    it('the same in micro-batches of three', () => {
      expectSame(run(pair.cases[0]!, 3), pair.cases[0]!.expected);
    });
  });

  it('the cases reach what they are for: both sides of the clip, all weights, ends and cuts', () => {
    const [near] = pairs;
    const { expected } = near!.cases[0]!;
    const rho = expected.ratio.flatMap((row, b) => row.map((x, t) => x * expected.w[b]![t]!));
    expect(Math.min(...rho)).toBeLessThan(0.8);
    expect(Math.max(...rho)).toBeGreaterThan(1.2);
    expect(rho.filter((x) => x > 0.8 && x < 1.2).length).toBeGreaterThan(3);
    expect(Math.min(...expected.w.flat())).toBeLessThan(0.1);
    expect(Math.max(...expected.w.flat())).toBeGreaterThan(1.2);
    expect(expected.clipped_fraction).toBeGreaterThan(0.1);
    expect(expected.clipped_fraction).toBeLessThan(0.9);
    const ends = near!.rollouts.plain!.map((row) => row.response_ids.at(-1) === 1);
    expect(new Set(ends).size).toBe(2);
    expect(new Set(near!.rollouts.plain!.map((row) => row.response_ids.length)).size).toBeGreaterThan(3);
  });
}
