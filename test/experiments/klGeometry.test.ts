import { describe, expect, it } from 'vitest';
import { fitGaussian, mixtureProbabilities, supportPoints } from '../../experiments/kl-geometry/gaussian.js';
import { answers, examples, kindOf, prompts } from '../../experiments/kl-geometry/languageModel.js';
import { initBackend } from '../../src/tensor/backend.js';

await initBackend({ backend: 'wasm' });

describe('a Gaussian fitted to two modes', () => {
  const support = supportPoints({ from: -14, to: 14, points: 281 });
  const mixture = [
    { weight: 0.65, mean: -2.5, deviation: 0.7 },
    { weight: 0.35, mean: 3, deviation: 0.8 },
  ];
  const p = mixtureProbabilities(support, mixture);
  const fitted = (divergence: 'forward' | 'reverse', start: number) =>
    fitGaussian(support, p, divergence, { start, steps: 300, lr: 0.05 });

  it('by forward KL has the moments of the mixture, from any start', () => {
    // Σ w m = −0.575; Σ w (s² + m²) − 0.575² = 7.424375.
    for (const start of [-1.5, 2]) {
      const { mean, deviation } = fitted('forward', start);
      expect(mean).toBeCloseTo(-0.575, 2);
      expect(deviation).toBeCloseTo(Math.sqrt(7.424375), 2);
    }
  });

  it('by reverse KL sits on the mode that it began near; its value is −ln of the weight, nearly', () => {
    const left = fitted('reverse', -1.5);
    expect([left.mean, left.deviation]).toEqual([expect.closeTo(-2.5, 2), expect.closeTo(0.7, 2)]);
    expect(left.value).toBeCloseTo(-Math.log(0.65), 2);
    const right = fitted('reverse', 2);
    expect([right.mean, right.deviation]).toEqual([expect.closeTo(3, 2), expect.closeTo(0.8, 2)]);
    expect(right.value).toBeCloseTo(-Math.log(0.35), 2);
  });
});

describe('the world of two right answers', () => {
  const world = { letters: 5, length: 3, copy_share: 0.6, train_prompts: 80, test_prompts: 40 };

  it('parts its prompts and answers each in one of the two ways', () => {
    const { train, test } = prompts(world);
    const all = [...train, ...test].map(String);
    expect(new Set(all).size).toBe(120);
    expect(answers([0, 4, 2], 5)).toEqual({ copy: [0, 4, 2], shift: [1, 0, 3] });
    const data = examples(train, world);
    expect(data).toHaveLength(160);
    const kinds = data.map(({ responseIds }, i) =>
      kindOf(
        Array.from(responseIds, (id) => id - 2),
        train[i % 80]!,
        5,
      ),
    );
    const copies = kinds.filter((kind) => kind === 'copy').length;
    expect(copies + kinds.filter((kind) => kind === 'shift').length).toBe(160);
    expect(copies / 160).toBeGreaterThan(0.5);
    expect(copies / 160).toBeLessThan(0.7);
  });

  it.each([
    [[0, 4, 2, -2], 'copy'],
    [[1, 0, 3, -2], 'shift'],
    [[0, 0, 2, -2], 'mixed'],
    [[0, 4, 2, 2], 'other'],
    [[0, 4, -2], 'other'],
    [[3, 4, 2, -2], 'other'],
  ])('%j is %s', (response, kind) => {
    expect(kindOf(response, [0, 4, 2], 5)).toBe(kind);
  });
});
