import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { type DivergenceName, divergences } from '../../src/objectives/divergences.js';
import * as ops from '../../src/tensor/ops/index.js';
import { valueAndGrads } from '../../src/tensor/params.js';
import { checkOp, expectClose, gaussian } from './gradcheck.js';

type T2 = tf.Tensor2D;

/** Forbidden tokens are null: JSON has no infinity. */
type Rows = (number | null)[][];

interface Fixture {
  cases: ({
    name: string;
    results: {
      divergence: DivergenceName;
      parameter: number | null;
      value: number[];
      gradient: number[][];
      /** Of a wide case: the gradient of every so many tokens, and its norm. */
      gradientOfEvery?: number;
      gradientNorm?: number;
    }[];
  } & (
    | { student: Rows; teacher: Rows }
    | { rows: number; width: number; salts: { student: number; teacher: number } }
  ))[];
}
const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/divergences/cases.json', import.meta.url), 'utf8'),
) as Fixture;

/** Every divergence at several parameters; those without one stand once. */
const everyDivergence: [DivergenceName, number | undefined][] = [
  ['forward', undefined],
  ['reverse', undefined],
  ...[0, 0.1, 0.5, 0.9, 1].map((beta): [DivergenceName, number] => ['jsd', beta]),
  ...[0, 0.1, 0.5, 1].map((lambda): [DivergenceName, number] => ['skew-forward', lambda]),
  ...[0, 0.1, 0.5, 1].map((lambda): [DivergenceName, number] => ['skew-reverse', lambda]),
  ['total-variation', undefined],
];

const perToken = (name: DivergenceName, q: T2, p: T2, parameter?: number) =>
  divergences[name].perToken(q, p, parameter);

/** The same suite for every backend; `initBackend` must have run. */
export function divergencesSuite(): void {
  it('mixtures stay finite where a model nearly excludes what the other finds likely', () => {
    // exp(-89) is a denormal float32, and the ratio of the two probabilities overflows.
    const [low, high] = [
      [0, -89, -1],
      [-8, 0, -9],
    ];
    for (const [q, p] of [
      [low, high],
      [high, low],
    ] as const) {
      const before = tf.memory().numTensors;
      tf.tidy(() => {
        const teacher = tf.tensor2d([p]);
        const params = { x: tf.tensor2d([q]) };
        const { value, grads } = valueAndGrads(
          ({ x }) => tf.sum(ops.jensenShannon(x as tf.Tensor2D, teacher, 0.5)) as tf.Scalar,
          params,
        );
        expect(value.dataSync()[0]).toBeCloseTo(0.691155, 4);
        expect(Array.from(grads.x!.dataSync()).every(Number.isFinite)).toBe(true);
      });
      expect(tf.memory().numTensors).toBe(before);
    }
  });

  describe.each(fixture.cases)('PyTorch: $name', (given) => {
    const [student, teacher] = (['student', 'teacher'] as const).map((model) =>
      'salts' in given
        ? spread(given.rows, given.width, given.salts[model])
        : given[model].map((row) => row.map((x) => x ?? Number.NEGATIVE_INFINITY)),
    );
    it.each(given.results)('$divergence $parameter', (expected) => {
      const found = valueAndGradient(
        expected.divergence,
        student!,
        teacher!,
        expected.parameter ?? undefined,
      );
      expectClose(found.value, expected.value, 1e-5, 'value');
      const width = student![0]!.length;
      const every = expected.gradientOfEvery ?? 1;
      const picked = found.gradient.filter((_, i) => (i % width) % every === 0);
      expectClose(picked, expected.gradient.flat(), 1e-5, 'gradient');
      if (expected.gradientNorm) {
        expectClose([Math.hypot(...found.gradient)], [expected.gradientNorm], 1e-5, 'norm of the gradient');
      }
    });
  });

  describe.each(everyDivergence)('%s %s', (name, parameter) => {
    const teacher = gaussian([4, 6], 'teacher', 2);
    it('value and gradient against finite differences of a slow float64 reference', () =>
      checkOp({
        inputs: { student: gaussian([4, 6], 'student', 2) },
        op: (x) => perToken(name, x.student as T2, tf.tensor2d(teacher.values, [4, 6]), parameter),
        reference: ({ student }) => slow(name, student!, teacher.values, 6, parameter),
      }));

    it('zero, and flat, where both models are equal', () => {
      const rows = [gaussian([9], 'equal', 4).values, [50, 0, -50, 1, 2, 3, 4, 5, 6]];
      const { value, gradient } = valueAndGradient(name, rows, rows, parameter);
      expectClose(value, [0, 0], 1e-6, 'value');
      expectClose(gradient, new Array(18).fill(0), 1e-6, 'gradient');
    });

    it('no gradient reaches the teacher', () => {
      const grads = tf.tidy(() => {
        const student = tf.tensor2d(gaussian([4, 6], 'student').values, [4, 6]);
        const params = { teacher: tf.tensor2d(teacher.values, [4, 6]) };
        return valueAndGrads((x) => tf.sum(perToken(name, student, x.teacher as T2, parameter)), params)
          .grads;
      });
      expect(Array.from(grads.teacher!.dataSync())).toEqual(new Array(24).fill(0));
      tf.dispose(grads);
    });
  });

  describe('identities', () => {
    const q = [gaussian([8], 'q', 2).values, gaussian([8], 'q2', 3).values];
    const p = [gaussian([8], 'p', 2).values, gaussian([8], 'p2', 3).values];
    const value = (name: DivergenceName, a: number[][], b: number[][], parameter?: number) =>
      valueAndGradient(name, a, b, parameter).value;

    it('JSD(0) and the skew forward KL of 0 are the forward KL, JSD(1) and the skew reverse KL of 0 the reverse KL', () => {
      for (const [name, parameter, end] of [
        ['jsd', 0, 'forward'],
        ['jsd', 1, 'reverse'],
        ['skew-forward', 0, 'forward'],
        ['skew-reverse', 0, 'reverse'],
      ] as const) {
        expect(valueAndGradient(name, q, p, parameter)).toEqual(valueAndGradient(end, q, p));
      }
    });
    it('the ends of JSD are the limits of JSD(β)/β and JSD(β)/(1 − β)', () => {
      const near = 1e-3;
      const left = value('jsd', q, p, near).map((x) => x / near);
      const right = value('jsd', q, p, 1 - near).map((x) => x / near);
      for (const i of [0, 1]) {
        expect(left[i]! / value('forward', q, p)[i]!).toBeCloseTo(1, 1);
        expect(right[i]! / value('reverse', q, p)[i]!).toBeCloseTo(1, 1);
      }
    });
    it('the skew divergences of 1 are zero, and flat', () => {
      for (const name of ['skew-forward', 'skew-reverse'] as const) {
        const found = valueAndGradient(name, q, p, 1);
        expectClose(found.value, [0, 0], 1e-7, 'value');
        expectClose(found.gradient, new Array(16).fill(0), 1e-7, 'gradient');
      }
    });
    it('JSD(β) of (q, p) is JSD(1 − β) of (p, q); ½ and the total variation are symmetric', () => {
      expectClose(value('jsd', q, p, 0.3), value('jsd', p, q, 0.7), 1e-6, 'jsd 0.3');
      expectClose(value('jsd', q, p, 0.5), value('jsd', p, q, 0.5), 1e-6, 'jsd 0.5');
      expectClose(value('total-variation', q, p), value('total-variation', p, q), 1e-6, 'tv');
      expect(Math.abs(value('jsd', q, p, 0.1)[0]! - value('jsd', p, q, 0.1)[0]!)).toBeGreaterThan(1e-2);
    });
    it('bounds: JSD(½) <= ln 2, skew <= −ln λ, variation <= 1, all reached by models that share nothing', () => {
      const sure = [[200, 0, 0]];
      const other = [[0, 200, 0]];
      expectClose(value('jsd', sure, other, 0.5), [Math.LN2], 1e-6, 'jsd');
      expectClose(value('skew-forward', sure, other, 0.1), [-Math.log(0.1)], 1e-6, 'skew forward');
      expectClose(value('skew-reverse', sure, other, 0.25), [-Math.log(0.25)], 1e-6, 'skew reverse');
      expectClose(value('total-variation', sure, other), [1], 1e-6, 'tv');
    });
    it('by hand: q = (½, ½), p = (¼, ¾)', () => {
      const [half, quarter] = [[[0, 0]], [[0, Math.log(3)]]];
      // m = (3/8, 5/8) at the middle.
      const jsd =
        0.5 * (0.25 * Math.log(2 / 3) + 0.75 * Math.log(1.2)) +
        0.5 * (0.5 * Math.log(4 / 3) + 0.5 * Math.log(0.8));
      expectClose(value('jsd', half, quarter, 0.5), [jsd], 1e-6, 'jsd');
      expectClose(
        value('skew-forward', half, quarter, 0.5),
        [0.25 * Math.log(2 / 3) + 0.75 * Math.log(1.2)],
        1e-6,
        'skew forward',
      );
      expectClose(
        value('skew-reverse', half, quarter, 0.5),
        [0.5 * Math.log(4 / 3) + 0.5 * Math.log(0.8)],
        1e-6,
        'skew reverse',
      );
      const { value: distance, gradient } = valueAndGradient('total-variation', half, quarter);
      expectClose(distance, [0.25], 1e-6, 'tv');
      expectClose(gradient, [0.25, -0.25], 1e-6, 'slope of the total variation'); // ½·½·(1 − 0)
    });
    it('tokens that one model or both forbid', () => {
      const banned = [[1, 0, Number.NEGATIVE_INFINITY, 2, Number.NEGATIVE_INFINITY]];
      const other = [[0, 1, 3, 1, Number.NEGATIVE_INFINITY]];
      for (const [name, parameter] of [
        ['jsd', 0.3],
        ['skew-forward', 0.1],
        ['skew-reverse', 0.1],
        ['total-variation', undefined],
      ] as const) {
        for (const [a, b] of [
          [banned, other],
          [other, banned],
        ] as const) {
          const { value: found, gradient } = valueAndGradient(name, [...a], [...b], parameter);
          expectClose(found, slow(name, a[0]!, b[0]!, 5, parameter), 2e-6, `${name}: value`);
          expect(gradient.every(Number.isFinite), `${name}: gradient`).toBe(true);
        }
      }
    });
    it('refuses a parameter outside [0, 1] and vocabularies of different sizes', () => {
      const zeros = (width: number): T2 => tf.zeros([2, width]);
      tf.tidy(() => {
        expect(() => ops.jensenShannon(zeros(3), zeros(3), 1.5)).toThrow(
          'jensenShannon: beta: 1.5 found, expected a number from 0 to 1',
        );
        expect(() => ops.skewForwardKl(zeros(3), zeros(3), -0.1)).toThrow('expected a number from 0 to 1');
        expect(() => ops.skewReverseKl(zeros(3), zeros(3), Number.NaN)).toThrow(
          'expected a number from 0 to 1',
        );
        expect(() => ops.totalVariation(zeros(3), zeros(4))).toThrow(
          'teacherLogits: shape [2, 4] found, [2, 3]',
        );
      });
    });
  });

  describe('in pieces of some rows', () => {
    const shape: [number, number] = [23, 37];
    const student = gaussian(shape, 'student', 2).values;
    const teacher = gaussian(shape, 'teacher', 2).values;
    const all = {
      reverseKl: (q: T2, p: T2, chunk: number) => ops.reverseKl(q, p, chunk),
      forwardKl: (q: T2, p: T2, chunk: number) => ops.forwardKl(q, p, chunk),
      crossEntropyToTeacher: (q: T2, p: T2, chunk: number) => ops.crossEntropyToTeacher(q, p, chunk),
      jensenShannon: (q: T2, p: T2, chunk: number) => ops.jensenShannon(q, p, 0.3, chunk),
      skewForwardKl: (q: T2, p: T2, chunk: number) => ops.skewForwardKl(q, p, 0.1, chunk),
      skewReverseKl: (q: T2, p: T2, chunk: number) => ops.skewReverseKl(q, p, 0.1, chunk),
      totalVariation: (q: T2, p: T2, chunk: number) => ops.totalVariation(q, p, chunk),
    };
    it.each(Object.entries(all))('%s: two more tensors of the size of the logits at most', async (_, op) => {
      const [rows, width] = [128, 512];
      const q = tf.tensor2d(gaussian([rows, width], 'wide').values, [rows, width]);
      const p = tf.tensor2d(gaussian([rows, width], 'wide teacher').values, [rows, width]);
      const before = tf.memory().numBytes;
      const { peakBytes } = await tf.profile(() =>
        tf.tidy(() => {
          const { value, grads } = valueAndGrads((x) => tf.sum(op(x.q as T2, p, 2 * width)), { q });
          tf.dispose([value, grads]);
        }),
      );
      const size = 4 * rows * width;
      expect((peakBytes - before) / size).toBeGreaterThan(0.9);
      // The pieces' own temporaries are a sixty-fourth each.
      expect((peakBytes - before) / size).toBeLessThan(2.5);
      tf.dispose([q, p]);
    });

    it.each(Object.entries(all))('%s: the same values and gradients', (_, op) => {
      const run = (chunk: number) =>
        evaluate((q) => op(q, tf.tensor2d(teacher, shape), chunk), tf.tensor2d(student, shape));
      const whole = run(1e6);
      for (const chunk of [1, 37, 5 * 37 + 3]) {
        const pieces = run(chunk);
        expectClose(pieces.value, whole.value, 1e-6, 'value');
        expectClose(pieces.gradient, whole.gradient, 1e-6, 'gradient');
      }
    });
  });
}

/** The formula of make.py. */
function spread(rows: number, width: number, salt: number): number[][] {
  const logit = (place: number): number => ((((place + salt) * 48271) % 65521) % 4096) / 256 - 8;
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: width }, (_, v) => logit(r * width + v)),
  );
}

function valueAndGradient(
  name: DivergenceName,
  student: number[][],
  teacher: number[][],
  parameter?: number,
) {
  return evaluate(
    (q) => divergences[name].perToken(q, tf.tensor2d(teacher), parameter),
    tf.tensor2d(student),
  );
}

/** Values of the rows and the gradient of their sum; nothing is left behind. */
function evaluate(f: (q: T2) => tf.Tensor1D, student: T2): { value: number[]; gradient: number[] } {
  const before = tf.memory().numTensors;
  const { value, gradient } = tf.tidy(() => {
    const result = valueAndGrads((x) => tf.sum(f(x.student as T2)), { student });
    return {
      value: Array.from(f(student).dataSync()),
      gradient: Array.from(result.grads.student!.dataSync()),
    };
  });
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);
  student.dispose();
  return { value, gradient };
}

/** The divergences as they are written down, in float64, on flat logits. */
function slow(
  name: DivergenceName,
  student: readonly number[],
  teacher: readonly number[],
  width: number,
  parameter = 0.5,
): number[] {
  const distribution = (row: readonly number[]): number[] => {
    const top = Math.max(...row);
    const mass = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
    return row.map((x) => Math.exp(x - top) / mass);
  };
  const kl = (a: number[], b: number[]): number =>
    a.reduce((sum, x, v) => (x === 0 ? sum : sum + x * Math.log(x / b[v]!)), 0);
  const ofRow = (n: number): number => {
    const q = distribution(student.slice(n * width, (n + 1) * width));
    const p = distribution(teacher.slice(n * width, (n + 1) * width));
    const mixture = (share: number): number[] => p.map((x, v) => share * x + (1 - share) * q[v]!);
    switch (name) {
      case 'forward':
        return kl(p, q);
      case 'reverse':
        return kl(q, p);
      case 'jsd':
        if (parameter === 0) return kl(p, q);
        if (parameter === 1) return kl(q, p);
        return parameter * kl(p, mixture(parameter)) + (1 - parameter) * kl(q, mixture(parameter));
      case 'skew-forward':
        return kl(p, mixture(parameter));
      case 'skew-reverse':
        return kl(q, mixture(1 - parameter));
      case 'total-variation':
        return p.reduce((sum, x, v) => sum + Math.abs(x - q[v]!) / 2, 0);
    }
  };
  return Array.from({ length: student.length / width }, (_, n) => ofRow(n));
}
