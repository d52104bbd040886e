import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { aggregationNames, batchTotals, tokenCoefficients } from '../../src/objectives/aggregate.js';
import { aggregationOf, type MinillmLossInputs, minillmLoss } from '../../src/objectives/minillmLoss.js';
import { resolveObjective } from '../../src/objectives/presets.js';
import type { RatioName } from '../../src/objectives/surrogate.js';
import { normal, stream } from '../../src/random/streams.js';
import { initBackend } from '../../src/tensor/backend.js';

beforeAll(async () => {
  await initBackend({ backend: 'cpu' });
});

const V = 4;
const N = 6;
const rng = stream(5, 'minillmLoss');
const numbers = (n: number, scale = 1) => Array.from({ length: n }, () => Math.fround(scale * normal(rng)));
const student = numbers(N * V);
const teacher = numbers(N * V);
const ids = [0, 3, 1, 2, 2, 0];
const oldLogprobs = ids.map((id, n) =>
  Math.fround(logSoftmax(student.slice(n * V, n * V + V), 2)[id]! + 0.3 * (n - 2.5)),
);
const advantages = numbers(N);
const pgWeights = numbers(N, 0.2).map((x) => Math.fround(Math.exp(x)));
const klWeights = numbers(N, 0.2).map((x) => Math.fround(Math.exp(x)));
const coefficients = numbers(N, 0.3).map((x) => Math.fround(Math.exp(x) / 10));
/** D of every action, and what the sum over them weighs. */
const actions = { values: numbers(N * V), weights: numbers(N, 0.3).map((x) => Math.fround(Math.exp(x))) };
/** Two responses. */
const lengths = [2, 4];
const config = { cliprange: 0.2, single_step: true, temperature: 2 } as const;

function logSoftmax(z: number[], temperature: number): number[] {
  const scaled = z.map((x) => x / temperature);
  const lse = Math.log(scaled.reduce((sum, x) => sum + Math.exp(x), 0));
  return scaled.map((x) => x - lse);
}

interface Settings {
  cliprange: number | { low: number; high: number };
  ratio?: RatioName;
  entropy_coef?: number;
  single_step: boolean;
  temperature: number;
  actions?: boolean;
}

/** The definition in float64, one token at a time. */
function naive(z: number[], c: Settings) {
  let pg = 0;
  let reg = 0;
  let clipped = 0;
  let entropy = 0;
  let act = 0;
  const changes = ids.map(
    (id, n) => logSoftmax(z.slice(n * V, n * V + V), c.temperature)[id]! - oldLogprobs[n]!,
  );
  const mean = (x: number[]) => x.reduce((a, b) => a + b, 0) / x.length;
  const [first, second] = [mean(changes.slice(0, lengths[0])), mean(changes.slice(lengths[0]))];
  for (let n = 0; n < N; n++) {
    const logq = logSoftmax(z.slice(n * V, n * V + V), c.temperature);
    const logp = logSoftmax(teacher.slice(n * V, n * V + V), c.temperature);
    const change = c.ratio === 'sequence' ? (n < lengths[0]! ? first : second) : changes[n]!;
    const rho = Math.exp(change) * pgWeights[n]!;
    entropy -= coefficients[n]! * logq.reduce((sum, l) => sum + Math.exp(l) * l, 0);
    const own = c.actions ? actions.values.slice(n * V, n * V + V) : new Array<number>(V).fill(0);
    const A = advantages[n]! - own[ids[n]!]!;
    const mean = own.reduce((sum, x, a) => sum + Math.exp(logq[a]!) * x, 0);
    act -= coefficients[n]! * actions.weights[n]! * mean;
    const plain = -A * rho;
    const { low, high } =
      typeof c.cliprange === 'number' ? { low: c.cliprange, high: c.cliprange } : c.cliprange;
    const cut = c.cliprange === 0 ? plain : -A * Math.min(1 + high, Math.max(1 - low, rho));
    pg += coefficients[n]! * Math.max(plain, cut);
    if (cut > plain) clipped++;
    const kl = logq.reduce((sum, l, v) => sum + Math.exp(l) * (l - logp[v]!), 0);
    reg += coefficients[n]! * klWeights[n]! * kl;
  }
  const loss = (c.single_step ? pg + reg : pg) + act - (c.entropy_coef ?? 0) * entropy;
  return { pg, reg, act, clipped, entropy, loss };
}

const inputs = (logits: tf.Tensor2D, c?: Settings): MinillmLossInputs => ({
  ...(c?.actions && {
    actions: { values: tf.tensor2d(actions.values, [N, V]), weights: Float32Array.from(actions.weights) },
  }),
  studentLogits: logits,
  teacherLogits: tf.tensor2d(teacher, [N, V]),
  tokenIds: tf.tensor1d(ids, 'int32'),
  oldLogprobs: Float32Array.from(oldLogprobs),
  advantages: Float32Array.from(advantages),
  pgWeights: Float32Array.from(pgWeights),
  klWeights: Float32Array.from(klWeights),
  coefficients: Float32Array.from(coefficients),
  lengths,
});

describe('minillmLoss against a float64 loop and its central differences', () => {
  const variants: Settings[] = [
    config,
    { ...config, cliprange: 0 },
    { ...config, cliprange: { low: 0.6, high: 0.1 } },
    { ...config, single_step: false },
    { ...config, temperature: 1 },
    { ...config, ratio: 'sequence' },
    { ...config, ratio: 'sequence', cliprange: 0, entropy_coef: 0.2 },
    { ...config, entropy_coef: 0.7, single_step: false },
    { ...config, actions: true },
    { ...config, actions: true, cliprange: 0, temperature: 1 },
    { ...config, actions: true, single_step: false, entropy_coef: 0.7 },
  ];
  it.each(variants)('%j', (c) => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const logits = tf.tensor2d(student, [N, V]);
      const { loss, parts, perToken } = minillmLoss(inputs(logits, c), c);
      const expected = naive(student, c);
      expect(loss.dataSync()[0]).toBeCloseTo(expected.loss, 5);
      expect(parts.pg_loss.dataSync()[0]).toBeCloseTo(expected.pg, 5);
      expect(parts.reg_loss!.dataSync()[0]).toBeCloseTo(expected.reg, 5); // reported without single_step too
      const act = parts.act_loss?.dataSync()[0];
      if (c.actions) expect(act).toBeCloseTo(expected.act, 5);
      else expect(act).toBeUndefined();
      const ent = parts.ent_loss?.dataSync()[0];
      if (c.entropy_coef) expect(ent).toBeCloseTo(-expected.entropy, 5);
      else expect(ent).toBeUndefined();
      expect(tf.sum(perToken.clipped).dataSync()[0]).toBe(expected.clipped);
      const gradient = tf
        .grad((x) => minillmLoss(inputs(x as tf.Tensor2D, c), c).loss)(logits)
        .dataSync();
      const h = 1e-5;
      student.forEach((z, i) => {
        const at = (value: number) => naive(student.with(i, value), c).loss;
        expect(gradient[i], `logit ${i}`).toBeCloseTo((at(z + h) - at(z - h)) / (2 * h), 5);
      });
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('clips some tokens in this test, not all', () => {
    expect(naive(student, config).clipped).toBeGreaterThan(0);
    expect(naive(student, config).clipped).toBeLessThan(N);
  });

  it('D by hand: q = 1/4 3/4, D = 8 4, the second token drawn, A = 6, the sum over actions weighs 2', () => {
    tf.tidy(() => {
      const one = {
        studentLogits: tf.tensor2d([[0, Math.log(3)]]),
        teacherLogits: undefined,
        tokenIds: tf.tensor1d([1], 'int32'),
        oldLogprobs: Float32Array.of(Math.log(0.75)),
        advantages: Float32Array.of(6),
        pgWeights: Float32Array.of(1),
        klWeights: Float32Array.of(1),
        coefficients: Float32Array.of(1),
        actions: { values: tf.tensor2d([[8, 4]]), weights: Float32Array.of(2) },
      };
      const plain = { cliprange: 0, single_step: false, temperature: 1 };
      const { loss, parts } = minillmLoss(one, plain);
      expect(parts.pg_loss.dataSync()[0]).toBeCloseTo(-2, 5); // 6 − 4
      expect(parts.act_loss!.dataSync()[0]).toBeCloseTo(-10, 5); // 2 · (8/4 + 4 · 3/4)
      expect(loss.dataSync()[0]).toBeCloseTo(-12, 5);
      const gradient = tf.grad((x) => minillmLoss({ ...one, studentLogits: x as tf.Tensor2D }, plain).loss)(
        one.studentLogits,
      );
      // −2 (onehot − q) − 2 q (D − 5): 0.5 − 1.5, −0.5 + 1.5
      expect(gradient.dataSync()[0]).toBeCloseTo(-1, 5);
      expect(gradient.dataSync()[1]).toBeCloseTo(1, 5);
      const wrong = { ...one, actions: { ...one.actions, values: tf.zeros<tf.Rank.R2>([1, 3]) } };
      expect(() => minillmLoss(wrong, plain)).toThrow('minillmLoss: actions.values');
    });
  });

  it('micro-batches add up to the whole batch', () => {
    tf.tidy(() => {
      const all = minillmLoss(inputs(tf.tensor2d(student, [N, V])), config).loss.dataSync()[0]!;
      const part = (from: number, to: number) => {
        const whole = inputs(tf.tensor2d(student, [N, V]));
        const rows = (x: Float32Array) => x.slice(from, to);
        return minillmLoss(
          {
            studentLogits: tf.slice(whole.studentLogits, [from, 0], [to - from, V]),
            teacherLogits: tf.slice(whole.teacherLogits!, [from, 0], [to - from, V]),
            tokenIds: tf.slice(whole.tokenIds, [from], [to - from]),
            oldLogprobs: rows(whole.oldLogprobs),
            advantages: rows(whole.advantages),
            pgWeights: rows(whole.pgWeights),
            klWeights: rows(whole.klWeights),
            coefficients: rows(whole.coefficients),
          },
          config,
        ).loss.dataSync()[0]!;
      };
      expect(part(0, 2) + part(2, 3) + part(3, N)).toBeCloseTo(all, 6);
    });
  });

  it('aggregates as configured; the terms of length_norm total, which carry 1/T, over responses', () => {
    for (const aggregation of aggregationNames) {
      expect(aggregationOf({ aggregation, length_norm: 'remaining' })).toBe(aggregation);
    }
    expect(aggregationOf({ aggregation: 'token-mean', length_norm: 'total' })).toBe('seq-mean-token-sum');
    expect(() => resolveObjective('minillm', { length_norm: 'total', aggregation: 'fixed-length' })).toThrow(
      'objective.aggregation: fixed-length with length_norm total',
    );
  });

  it('ratio sequence-token: the value of the response, the gradient of the token', () => {
    tf.tidy(() => {
      const logits = tf.tensor2d(student, [N, V]);
      const of = (ratio: RatioName) => {
        const c = { ...config, cliprange: 0, single_step: false, ratio };
        const gradient = tf
          .grad((x) => minillmLoss(inputs(x as tf.Tensor2D), c).loss)(logits)
          .dataSync();
        return { ...minillmLoss(inputs(logits), c), gradient };
      };
      const [token, sequence, both] = [of('token'), of('sequence'), of('sequence-token')];
      expect(both.perToken.ratio.dataSync()).toEqual(sequence.perToken.ratio.dataSync());
      const [s, r] = [sequence.perToken.ratio.dataSync(), token.perToken.ratio.dataSync()];
      expect(new Set(s).size).toBe(2);
      token.gradient.forEach((x, i) => {
        const n = Math.floor(i / V);
        expect(both.gradient[i]).toBeCloseTo((x * s[n]!) / r[n]!, 5);
      });
    });
  });

  it('one A a response, equal shares of responses: GSPO, its tokens weigh 1/L', () => {
    tf.tidy(() => {
      const c = { ...config, cliprange: 0, single_step: false, temperature: 1, ratio: 'sequence' as const };
      const logits = tf.tensor2d(student, [N, V]);
      const a = [1.5, -0.75];
      const logq = ids.map((id, n) => Math.fround(logSoftmax(student.slice(n * V, n * V + V), 1)[id]!));
      const of = (n: number): number => (n < lengths[0]! ? 0 : 1);
      const given = (x: tf.Tensor2D): MinillmLossInputs => ({
        ...inputs(x),
        oldLogprobs: Float32Array.from(logq),
        advantages: Float32Array.from(ids, (_, n) => a[of(n)]!),
        pgWeights: new Float32Array(N).fill(1),
        coefficients: tokenCoefficients('seq-mean-token-mean', lengths, batchTotals(lengths)),
      });
      const gradient = tf
        .grad((x) => minillmLoss(given(x as tf.Tensor2D), c).loss)(logits)
        .dataSync();
      ids.forEach((id, n) => {
        const q = logSoftmax(student.slice(n * V, n * V + V), 1).map(Math.exp);
        q.forEach((x, v) => {
          const score = (v === id ? 1 : 0) - x;
          const expected = (-a[of(n)]! * score) / lengths[of(n)]! / lengths.length;
          expect(gradient[n * V + v]).toBeCloseTo(expected, 6);
        });
      });
    });
  });

  it('a ratio of responses asks for their lengths', () => {
    const { lengths: _, ...without } = inputs(tf.tensor2d(student, [N, V]));
    expect(() => tf.tidy(() => minillmLoss(without, { ...config, ratio: 'sequence' }).loss)).toThrow(
      'lengths of 0 tokens for 6 rows; ratio sequence needs those of whole responses',
    );
  });

  it('names an input of the wrong size', () => {
    const wrong = { ...inputs(tf.tensor2d(student, [N, V])), advantages: new Float32Array(N - 1) };
    expect(() => tf.tidy(() => minillmLoss(wrong, config).loss)).toThrow(
      'minillmLoss: advantages: shape [5] found, [6] expected',
    );
  });
});
