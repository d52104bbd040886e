import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Model, Params, TokenSignals, Trajectory } from '../src/index.js';
import * as library from '../src/index.js';
import { batchGradients } from '../src/training/gradients.js';
import { policyBatches } from '../src/training/policyBatches.js';
import { codeBlocks, repository } from './helpers/docs.js';
import { temporaryFolder } from './helpers/temporary.js';

/** docs/library.md as a program: its blocks are run as they stand, with the sources in the place of the package. */
const home = temporaryFolder('library');
const before = process.cwd();
beforeAll(() => process.chdir(home));
afterAll(() => process.chdir(before));

async function runBlock(name: string, block: string, given: string[]): Promise<Record<string, unknown>> {
  const text = block
    .replaceAll("'minillm-rl'", JSON.stringify(join(repository, 'src/index.ts')))
    .replaceAll("'@tensorflow/tfjs-core'", JSON.stringify(import.meta.resolve('@tensorflow/tfjs-core')))
    .replaceAll('node_modules/minillm-rl', repository.replace(/\/$/, ''));
  mkdirSync(home, { recursive: true });
  const file = join(home, `${name}.ts`);
  writeFileSync(file, `${text}\nexport { ${given.join(', ')} };\n`);
  return import(file);
}

const [step, run] = codeBlocks('library.md', 'ts');

describe('the step of docs/library.md', () => {
  it('has the loss and the gradients of the training loop', async () => {
    const block = await runBlock('step', step!, [
      ...[
        'rollouts',
        'signals',
        'constants',
        'value',
        'grads',
        'next',
        'student',
        'teacher',
        'models',
        'objective',
      ],
    ]);
    const { rollouts, value, grads, teacher, objective } = block as {
      rollouts: Trajectory[];
      signals: TokenSignals;
      value: tf.Scalar;
      grads: Params;
      teacher: Model;
      objective: library.ObjectiveConfig;
    };
    const { next } = block as { next: { params: Params; gradNorm: number } };
    const student = await library.loadModel(join(repository, 'experiments/wordnet/student'));
    const teachers = [teacher];
    const { micro } = policyBatches({ student, teachers }, rollouts, objective, {
      microBatchSize: 5,
      teacherLogits: (part) => library.logitsAtResponses(teacher, part),
    });
    const expected = batchGradients(micro, student.params);
    expect(rollouts).toHaveLength(16);
    expect(value.dataSync()[0]).toBeCloseTo(expected.values.loss!, 5);
    expect(Object.keys(grads).sort()).toEqual(Object.keys(student.params).sort());
    for (const [name, grad] of Object.entries(grads)) {
      const error = tf.tidy(() => tf.norm(tf.sub(grad, expected.grads![name]!)).dataSync()[0]!);
      expect(error, name).toBeLessThan(1e-5 * Math.max(1, next.gradNorm));
    }
    const stepped = await library.loadModel(join(home, 'stepped'));
    const moved = Object.entries(stepped.params).map(([name, param]) =>
      tf.tidy(() => tf.max(tf.abs(tf.sub(param, student.params[name]!))).dataSync()[0]!),
    );
    // The first step of Adam moves by the learning rate, whatever the gradient.
    expect(Math.max(...moved)).toBeGreaterThan(4e-4);
    expect(Math.max(...moved)).toBeLessThan(6e-4);
  });

  it('has thirty lines or little more', () => {
    const lines = step!.split('\n').filter((line) => /^\s*[^/\s]/.test(line));
    expect(lines.length).toBeLessThanOrEqual(34);
  });
});

describe('logitsAtResponses', () => {
  it('gives the log-probabilities of scoreTokens, response after response', async () => {
    await library.initBackend();
    const model = library.initModel(
      library.llamaConfig({
        vocabSize: 11,
        hiddenSize: 8,
        layers: 1,
        heads: 2,
        maxPositions: 12,
        tiedHead: true,
        eosId: 0,
      }),
      3,
    );
    const sequences = [
      { promptIds: [1, 2, 3], responseIds: [4, 5] },
      { promptIds: [6], responseIds: [7, 8, 9, 0] },
    ];
    const before = tf.memory().numTensors;
    const logits = library.logitsAtResponses(model, sequences);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(logits.shape).toEqual([6, 11]);
    const logprobs = tf.tidy(() => tf.logSoftmax(logits).arraySync()) as number[][];
    const targets = sequences.flatMap(({ responseIds }) => responseIds);
    const whole = sequences.map(({ promptIds, responseIds }) =>
      Int32Array.from([...promptIds, ...responseIds]),
    );
    const scores = library.scoreTokens(model, whole);
    const expected = [...scores[0]!.slice(2), ...scores[1]!];
    for (const [n, id] of targets.entries()) expect(logprobs[n]![id]!).toBeCloseTo(expected[n]!, 5);
  });

  it.each([
    [[], 'no sequences; give at least one'],
    [
      [
        { promptIds: [1], responseIds: [2] },
        { promptIds: [], responseIds: [2] },
      ],
      'sequence 1 has an empty prompt',
    ],
    [[{ promptIds: [1], responseIds: [] }], 'sequence 0 has an empty response'],
    [[{ promptIds: [1], responseIds: [99] }], 'sequence 0 holds the token id 99'],
    [[{ promptIds: [1], responseIds: new Array(12).fill(1) }], 'sequence 0 has 13 tokens, more than'],
  ])('refuses %j', async (sequences, line) => {
    const model = { config: { vocabSize: 11, maxPositions: 12 }, params: {} } as unknown as Model;
    expect(() => library.logitsAtResponses(model, sequences)).toThrow(line);
  });
});

it('the run of docs/library.md is tracked', async () => {
  const { summary } = await runBlock('run', run!, ['summary']);
  expect(summary).toMatchObject({ method: 'minillm', steps: 4, final: 'runs/tracked/final' });
  const lines = readFileSync(join(home, 'track.jsonl'), 'utf8').trim().split('\n');
  const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const kinds = rows.map(
    (row) => `${'best' in row ? 'valid' : 'directory' in row ? 'checkpoint' : 'step'} ${row.step}`,
  );
  expect(kinds).toEqual([
    ...['valid 0', 'step 1', 'step 2', 'valid 2', 'checkpoint 2'],
    ...['step 3', 'step 4', 'valid 4', 'checkpoint 4'],
  ]);
  const logged = readFileSync(join(home, 'runs/tracked/metrics.jsonl'), 'utf8').trim().split('\n');
  const written = logged.map((line) => JSON.parse(line) as Record<string, number>);
  const losses = written.filter(({ phase }) => String(phase) === 'train').map(({ loss }) => loss);
  expect(rows.filter(({ loss }) => loss !== undefined).map(({ loss }) => loss)).toEqual(losses);
});
