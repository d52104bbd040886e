import { describe, expect, it } from 'vitest';
import { forwardFlops, powerFit, workFlops } from '../../experiments/bench/growth.js';
import { axisNames, type ScalingPoint, scaledWorks } from '../../experiments/bench/scalingPoints.js';
import {
  fits,
  markdown,
  scalingCsv,
  scalingFigure,
  scalingTables,
} from '../../experiments/bench/scalingTables.js';

describe('a power law', () => {
  it('that is exact is found exactly', () => {
    const fit = powerFit([1, 2, 4, 10].map((x) => ({ x, seconds: 0.25 * x ** 1.5 })));
    expect([fit.exponent, fit.coefficient, fit.r2]).toEqual([1.5, 0.25, 1].map((x) => expect.closeTo(x, 12)));
  });

  it('is that of least squares where no line goes through all points', () => {
    // ln x = 0, 1, 2 and ln seconds = 0, 2, 1: slope 1/2, mean 1, so ln c = 1/2; r² = 1/(2·2).
    const seconds = [1, Math.exp(2), Math.E];
    const fit = powerFit([1, Math.E, Math.exp(2)].map((x, i) => ({ x, seconds: seconds[i]! })));
    expect(fit.exponent).toBeCloseTo(0.5, 12);
    expect(fit.coefficient).toBeCloseTo(1.6487212707, 9);
    expect(fit.r2).toBeCloseTo(0.25, 12);
  });

  it('needs two quantities, and positive numbers', () => {
    expect(() => powerFit([{ x: 2, seconds: 1 }])).toThrow('two different quantities');
    expect(() => powerFit([1, 2].map((x) => ({ x, seconds: x - 1 })))).toThrow('positive');
  });
});

describe('operations counted from the shapes', () => {
  const small = { layers: 2, hiddenSize: 4, heads: 2, vocabSize: 10 };

  it('are those of one pass', () => {
    // 24·2·16·3 = 2304, 4·2·4·6 = 192, 2·4·10·2 = 160.
    expect(forwardFlops(small, 3, 2)).toBe(2656);
  });

  it('are those of scoring, training and sampling', () => {
    const sizes = { batch: 2, promptLen: 2, length: 3 };
    // 2 · (2304 + 192 + 240)
    expect(workFlops.score(small, sizes)).toBe(5472);
    expect(workFlops.sft(small, sizes)).toBe(16_416);
    // Four tokens read: 2 · (24·2·16·4 + 4·2·4·10 + 240) = 2 · (3072 + 320 + 240)
    expect(workFlops.generate(small, sizes)).toBe(7264);
    // A training step, L4 D256 V4096, B16 T128: 48 · (805 306 368 + 33 816 576 + 268 435 456).
    const base = { layers: 4, hiddenSize: 256, heads: 4, vocabSize: 4096 };
    expect(workFlops.sft(base, { batch: 16, promptLen: 0, length: 128 })).toBe(53_162_803_200);
  });
});

describe('what bench:scaling writes', () => {
  const base = { batch: 2, length: 2, vocabulary: 2, layers: 2, width: 2 };
  const points = scaledWorks.flatMap((work) =>
    axisNames.flatMap((axis) =>
      [1, 2, 4].map(
        (value): ScalingPoint => ({
          ...{ work, axis, value, seconds: 0.01 * value ** 2, min_s: 0.001, max_s: 0.5 },
          ...{ tokens_per_s: 1000, gflops: 50 },
        }),
      ),
    ),
  );
  const findings = {
    ...{ base, points },
    roofline: { gflops: 200, shape: [1024, 1024, 1024] as const },
    round: {
      ...{
        student_rollout: 2,
        teacher_in_rollout: 1,
        teacher_in_updates: 1,
        forward_backward: 5,
        optimizer: 1,
      },
      ...{ javascript_in_rollout: 0.2, javascript_in_updates: 0.3 },
    },
  };

  it('has an exponent for every work and axis', () => {
    const all = fits(points);
    expect(all).toHaveLength(15);
    for (const { exponent } of all) expect(exponent).toBeCloseTo(2, 12);
  });

  it('has shares of the roofline and of the round', () => {
    const text = markdown(scalingTables(findings));
    expect(text).toContain('| sft | width | 4 | 160 | 1.0 | 500 | 1000 | 50.0 | 25 % |');
    expect(text).toContain('| updates: forward and backward | 5.000 | 50 % |');
    expect(text).toContain('| round | 10.000 | 100 % |');
    expect(text).toContain('| of it JavaScript, in the updates | 0.300 | 3 % |');
    expect(scalingCsv(findings).split('\r\n')[1]).toBe('score,batch,1,0.01,0.001,0.5,1000,50,0.25');
  });

  it('has a figure with every axis of every work', () => {
    const svg = scalingFigure(findings);
    for (const name of [...axisNames, ...scaledWorks]) expect(svg).toContain(`>${name}</text>`);
    expect(svg.match(/<circle/g)).toHaveLength(45);
    expect(svg).not.toContain('NaN');
  });
});
