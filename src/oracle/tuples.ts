import type { Ragged } from '../objectives/ragged.js';
import type { Tuple } from './coupling.js';
import type { Enumeration } from './enumeration.js';
import type { SampledGradient } from './gradients.js';
import { addGradient, dot, type Gradient } from './space.js';

export interface PromptMoments {
  /** E[g | prompt], in the parameters. */
  expectation: Float64Array;
  variance: number;
}

/**
 * Exact moments of the mean gradient of K samples of one prompt whose baseline looks at all of them, over every tuple that
 * can be drawn. The baseline is the code that training runs.
 *
 * @param gradients of all sequences without a baseline @param ofSamples the baseline
 * @returns E and K × the trace of the covariance of the mean
 */
export function tupleMoments(
  { world, space, directions }: Enumeration,
  gradients: readonly SampledGradient[],
  ofSamples: (returns: Ragged) => Float64Array[],
  law: readonly Tuple[],
): PromptMoments {
  const samples = law[0]!.rows.length;
  const total = new Float64Array(world.states.length * world.vocab);
  let second = 0;
  for (const { rows, probability } of law) {
    const own = Array.from(rows, (row) => gradients[row]!);
    const advantages = ofSamples(own.map(({ returns }) => returns));
    const drawn = own.map((g, k): Gradient => {
      const slope = new Float64Array(g.w.length);
      for (let t = 0; t < slope.length; t++) slope[t] = -g.w[t]! * advantages[k]![t]!;
      return { tokens: g.tokens, states: g.states, kl: g.kl, slope };
    });
    for (let k = 0; k < samples; k++) {
      addGradient(total, directions, drawn[k]!, probability / samples);
      for (let l = 0; l <= k; l++) {
        second += ((l === k ? 1 : 2) * probability * space.inner(drawn[k]!, drawn[l]!)) / samples ** 2;
      }
    }
  }
  const expectation = space.pull(total);
  return { expectation, variance: samples * (second - dot(expectation, expectation)) };
}
