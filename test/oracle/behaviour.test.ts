import { describe, expect, it } from 'vitest';
import type { SampledBatch } from '../../src/objectives/advantages.js';
import { type ObjectiveConfig, presets } from '../../src/objectives/presets.js';
import { batchOf, enumerate } from '../../src/oracle/enumeration.js';
import { reverseKlExact } from '../../src/oracle/exact.js';
import { gradientsOf, meanGradient } from '../../src/oracle/gradients.js';
import { compare } from '../../src/oracle/oracle.js';
import { plainSampling, type SamplingOptions } from '../../src/rollout/sampling.js';
import { drawnFrom } from '../rollout/sampling.reference.js';
import { randomWorld } from './worlds.js';

/**
 * The gradient estimator when responses are drawn from what penalties and cuts leave of the mixture: with the recorded probability
 * of what was drawn, prefix weights are exact wherever everything can be drawn, and lack just what cannot.
 */
describe('importance weights under a changed behaviour', () => {
  const world = randomWorld(3, 4, 1);
  const enumeration = enumerate(world);
  const exact = reverseKlExact(world).gradient;
  const config: ObjectiveConfig = {
    ...presets.minillm,
    ...{
      cliprange: 0,
      length_norm: 'off',
      baseline: 'none',
      importance: 'prefix',
      w_on_reg: true,
      alpha: 0.3,
    },
  };

  /** All responses, each with the probability of being drawn. */
  function population(sampling: SamplingOptions): SampledBatch {
    const { sequences } = enumeration;
    const behaviorLogprobs = sequences.map(({ tokens, states }) =>
      Float64Array.from(tokens, (y, t) => {
        const { logq, logp } = world.states[states[t]!]!;
        const teacher = { logits: Array.from(logp), alpha: config.alpha };
        return Math.log(
          drawnFrom(Array.from(logq), teacher, Array.from(tokens.subarray(0, t)), sampling)[y]!,
        );
      }),
    );
    const probabilities = behaviorLogprobs.map((logs) => Math.exp(logs.reduce((a, b) => a + b, 0)));
    expect(probabilities.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    return { ...batchOf(world, sequences, 0), behaviorLogprobs, probabilities };
  }

  function biasOf(sampling: Partial<SamplingOptions>, change: Partial<ObjectiveConfig> = {}): number {
    const { probabilities, ...batch } = population({ ...plainSampling, ...sampling });
    const drawable = probabilities!;
    const kept = enumeration.sequences.flatMap((_, i) => (drawable[i]! > 0 ? [i] : []));
    const of = <T>(x: readonly T[]): T[] => kept.map((i) => x[i]!);
    const gradients = gradientsOf(
      of(enumeration.sequences),
      {
        studentLogprobs: of(batch.studentLogprobs),
        teacherLogprobs: of(batch.teacherLogprobs),
        behaviorLogprobs: of(batch.behaviorLogprobs),
        kl: of(batch.kl!),
        probabilities: kept.map((i) => drawable[i]!),
      },
      { ...config, ...change },
    );
    return compare(meanGradient(enumeration, gradients), exact).relative_bias;
  }

  it.each<Partial<SamplingOptions>>([
    {},
    { repetitionPenalty: 1.5 },
    { repetitionPenalty: 0.6 },
    { repetitionPenalty: 3, minP: 1e-6 },
  ])('%j: prefix weights are exact, those of a token alone are not', (sampling) => {
    expect(biasOf(sampling)).toBeLessThan(1e-12);
    expect(biasOf(sampling, { returns: 'sampled' })).toBeLessThan(1e-12);
    expect(biasOf(sampling, { importance: 'token' })).toBeGreaterThan(1e-4);
  });

  it.each<Partial<SamplingOptions>>([{ minP: 0.4 }, { noRepeatNgram: 1 }, { topK: 2 }])(
    '%j: what is never drawn is missing, and no weight brings it back',
    (sampling) => {
      expect(biasOf(sampling)).toBeGreaterThan(0.01);
    },
  );
});
