import { klEstimators } from '../objectives/klEstimators.js';
import type { Generation } from './generations.js';
import type { Material, Metric, Values } from './material.js';
import type { PairScores } from './tokenScores.js';

/** One direction of the divergence: whose samples, how they are scored, and the log-ratio r = ln(other) − ln(sampler). */
interface Direction {
  of: string;
  samples(m: Material): Generation[][];
  scores(m: Material): PairScores[][];
  kl(s: PairScores): Float32Array;
  logRatio(s: PairScores, t: number): number;
}

const reverse: Direction = {
  of: 'KL(q‖p) on the model’s samples',
  samples: (m) => m.sampled(),
  scores: (m) => m.scored(),
  kl: (s) => s.reverseKl,
  logRatio: (s, t) => s.teacherLogprobs[t]! - s.logprobs[t]!,
};

const forward: Direction = {
  of: 'KL(p‖q) on the teacher’s samples',
  samples: (m) => m.teacherSampled(),
  scores: (m) => m.teacherScored(),
  kl: (s) => s.forwardKl,
  logRatio: (s, t) => s.logprobs[t]! - s.teacherLogprobs[t]!,
};

/** The Rao-Blackwellised estimate has the plain name, the three one-sample estimators have theirs in it. */
export const klMetrics = {
  reverse_kl_seq: perResponse(reverse, 'rao-blackwell'),
  reverse_kl_token: perToken(reverse, 'rao-blackwell'),
  reverse_kl_k1: perResponse(reverse, 'k1'),
  reverse_kl_k2: perResponse(reverse, 'k2'),
  reverse_kl_k3: perResponse(reverse, 'k3'),
  reverse_kl_k1_token: perToken(reverse, 'k1'),
  reverse_kl_k2_token: perToken(reverse, 'k2'),
  reverse_kl_k3_token: perToken(reverse, 'k3'),
  forward_kl_seq: perResponse(forward, 'rao-blackwell'),
  forward_kl_token: perToken(forward, 'rao-blackwell'),
  forward_kl_k1: perResponse(forward, 'k1'),
  forward_kl_k2: perResponse(forward, 'k2'),
  forward_kl_k3: perResponse(forward, 'k3'),
  forward_kl_k1_token: perToken(forward, 'k1'),
  forward_kl_k2_token: perToken(forward, 'k2'),
  forward_kl_k3_token: perToken(forward, 'k3'),
} satisfies Record<string, Metric>;

function perResponse(direction: Direction, estimator: keyof typeof klEstimators): Metric {
  return {
    describe: `${direction.of}, nats per response: ${klEstimators[estimator].equation}`,
    needs: ['teacher'],
    compute: (m) => sums(direction, estimator, m),
  };
}

function perToken(direction: Direction, estimator: keyof typeof klEstimators): Metric {
  return {
    describe: `the same per token: ${klEstimators[estimator].equation}`,
    needs: ['teacher'],
    compute: (m) => {
      const lengths = direction.samples(m).map((seed) => seed.map((g) => g.responseIds.length));
      return sums(direction, estimator, m).map((seed, s) => ratioValues(seed, lengths[s]!));
    },
  };
}

/** Σ_t of an estimator for every response. */
function sums(direction: Direction, estimator: keyof typeof klEstimators, m: Material): Values {
  const { token } = klEstimators[estimator];
  return direction
    .scores(m)
    .map((seed) =>
      seed.map((s) => direction.kl(s).reduce((sum, kl, t) => sum + token(direction.logRatio(s, t), kl), 0)),
    );
}

/**
 * Σ numerators / Σ denominators as a mean over prompts: value_i = R + (a_i − R·b_i)/mean(b), the linearised ratio.
 * Their mean is R and their spread gives its standard error (delta method).
 */
export function ratioValues(numerators: readonly number[], denominators: readonly number[]): number[] {
  const total = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0);
  const ratio = total(numerators) / total(denominators);
  const meanDenominator = total(denominators) / denominators.length;
  return numerators.map((a, i) => ratio + (a - ratio * denominators[i]!) / meanDenominator);
}
