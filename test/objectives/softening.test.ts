import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { divergences } from '../../src/objectives/divergences.js';
import { kdLoss } from '../../src/objectives/kd.js';
import { kdScaleNames, kdScales, type Softening, softened } from '../../src/objectives/softening.js';
import { checkRemoteTeacher } from '../../src/runs/remoteTeacher.js';
import { initBackend } from '../../src/tensor/backend.js';
import { softeningOf } from '../../src/training/divergenceLoss.js';
import { trainConfig } from '../helpers/training.js';

beforeAll(async () => {
  await initBackend({ backend: 'cpu' });
});

const student = [
  [0.5, -1.0, 2.0, 0.25],
  [1.5, 0.0, -0.5, -2.0],
];
const teacher = [
  [1.0, 0.5, -0.75, 2.0],
  [-1.0, 2.5, 0.25, 0.5],
];

/** Values of both rows and the gradient in the first, by PyTorch in float64 (log_softmax(z / T), KL sums, autograd). */
const torch: [number, 'forward' | 'reverse' | 'jsd', number[], number[]][] = [
  [0.5, 'forward', [3.06958204, 2.990264795], [-0.135617052, -0.079151557, 1.840764771, -1.625996162]],
  [0.5, 'reverse', [5.024550224, 6.377523665], [-0.545537722, -0.036320397, 1.052228045, -0.470369927]],
  [0.5, 'jsd', [0.482008196, 0.492970166], [-0.039262004, -0.006622072, 0.144306076, -0.098422]],
  [2, 'forward', [0.344317775, 0.441183477], [-0.018249634, -0.048475306, 0.182485209, -0.115760269]],
  [2, 'reverse', [0.441934797, 0.574953713], [-0.066317611, -0.057733923, 0.244246723, -0.120195189]],
  [2, 'jsd', [0.074584025, 0.094974314], [-0.005982394, -0.010050487, 0.038838708, -0.022805827]],
];

function both(name: (typeof torch)[number][1], softening: Softening) {
  return tf.tidy(() => {
    const p = tf.tensor2d(teacher);
    const of = (x: tf.Tensor2D): tf.Tensor1D =>
      softened(softening, x, p, (a, b) => divergences[name].perToken(a, b, 0.3));
    const q = tf.tensor2d(student);
    const gradient = tf.grad((x) => tf.sum(of(x as tf.Tensor2D)))(q);
    return { value: Array.from(of(q).dataSync()), gradient: Array.from(gradient.dataSync()) };
  });
}

describe('a divergence at a temperature', () => {
  it.each(torch)(
    'T = %d, %s: value and gradient as PyTorch, with and without T²',
    (temperature, name, values, slopes) => {
      for (const scale of kdScaleNames) {
        const factor = kdScales[scale].factor(temperature);
        expect(factor).toBe(scale === 'none' ? 1 : temperature ** 2);
        const { value, gradient } = both(name, { temperature, scale });
        values.forEach((x, n) => {
          expect(value[n]).toBeCloseTo(factor * x, 5);
        });
        slopes.forEach((x, v) => {
          expect(gradient[v]).toBeCloseTo(factor * x, 5);
        });
      }
    },
  );

  it('T = 1 is the divergence itself, to the bit', () => {
    const [plain, scaled] = kdScaleNames.map((scale) => both('jsd', { temperature: 1, scale }));
    const direct = tf.tidy(() =>
      Array.from(divergences.jsd.perToken(tf.tensor2d(student), tf.tensor2d(teacher), 0.3).dataSync()),
    );
    expect(plain!.value).toEqual(direct);
    expect(scaled).toEqual(plain);
  });

  it('T² keeps the gradient of a KL: for large T that of half the squared distance of centred logits over V', () => {
    const centred = (z: number[]): number[] => z.map((x) => x - z.reduce((a, b) => a + b, 0) / z.length);
    const limit = centred(student[0]!).map((x, v) => (x - centred(teacher[0]!)[v]!) / 4);
    for (const name of ['forward', 'reverse'] as const) {
      const { gradient } = both(name, { temperature: 300, scale: 't-squared' });
      limit.forEach((x, v) => {
        expect(gradient[v]).toBeCloseTo(x, 1);
      });
      const small = both(name, { temperature: 300, scale: 'none' }).gradient;
      small.slice(0, 4).forEach((x, v) => {
        expect(x * 300 ** 2).toBeCloseTo(gradient[v]!, 4);
      });
    }
  });

  it('softens the soft cross-entropy of kd, and not the hard one', () => {
    tf.tidy(() => {
      const ids = tf.tensor1d([2, 0], 'int32');
      const of = (softening?: Softening) =>
        kdLoss(tf.tensor2d(student), tf.tensor2d(teacher), ids, 0.25, softening);
      const { loss, ce, softCe } = of({ temperature: 2, scale: 't-squared' });
      expect(Array.from(ce.dataSync())).toEqual(Array.from(of().ce.dataSync()));
      [1.622023864, 1.620904328].forEach((x, n) => {
        expect(softCe!.dataSync()[n]).toBeCloseTo(4 * x, 5);
        expect(loss.dataSync()[n]).toBeCloseTo(0.75 * ce.dataSync()[n]! + 0.25 * 4 * x, 5);
      });
    });
  });

  it('is 1 and unscaled unless a configuration says more', () => {
    expect(softeningOf(trainConfig({ method: 'kd' }).train)).toEqual({ temperature: 1, scale: 'none' });
    const train = { kd_temperature: 3, kd_scale: 't-squared' };
    expect(softeningOf(trainConfig({ method: 'gkd', train }).train)).toEqual({
      temperature: 3,
      scale: 't-squared',
    });
  });
});

it('a teacher known by its most likely tokens cannot be softened', () => {
  const teacher = { url: 'http://127.0.0.1:1', gives: 'top_k' };
  const check = (train: object) =>
    checkRemoteTeacher(trainConfig({ method: 'kd', teacher, train }), (line) => {
      throw new Error(line);
    });
  expect(() => check({})).not.toThrow();
  expect(() => check({ kd_temperature: 2 })).toThrow('train.kd_temperature: 2 softens a whole distribution');
});
