import { type Rng, stream } from '../random/streams.js';

/** How the K samples of one prompt come by their uniform numbers. */
export interface SamplingScheme {
  equation: string;
  /** What is known of the estimator under it; the marginal law of every single sample is the same in all schemes. */
  claim: string;
  /** The samples that belong together: K must be a multiple of it. 0: all K. */
  group: number;
  /** The stream of numbers in [0, 1) of sample k of K, one number a token. */
  uniforms(open: (...address: (number | string)[]) => Rng, sample: number, samples: number): Rng;
}

/**
 * Sampling schemes (variance reduction by dependence between the samples of one prompt; Owen, Monte Carlo theory, methods
 * and examples, chapters 8 and 17). Token t of sample k is drawn by inversion of the cumulative distribution at u_{k,t}:
 *
 *     independent   u_{k,t} fresh
 *     antithetic    u_{2j,t} = u, u_{2j+1,t} = 1 − u
 *     stratified    u_{k,t} = (k/K + u) mod 1: a fresh rotation u of K equal strata at every step
 *
 * Each u_{k,t} is uniform and independent of all earlier steps of its own sample, so every sample alone has exactly the
 * law of the policy and no estimator that averages over samples becomes biased. Samples of one prompt are no longer
 * independent: a leave-one-out baseline, which needs that, becomes biased. The gain lasts as long as the samples share
 * their prefix, for after they part the same u means different words.
 */
export const samplingSchemes = {
  independent: {
    equation: 'u_{k,t} fresh',
    claim: 'samples are independent',
    group: 1,
    uniforms: (open, sample) => open(sample),
  },
  antithetic: {
    equation: 'u_{2j,t} = u, u_{2j+1,t} = 1 − u',
    claim: 'unbiased per sample; the two of a pair are dependent',
    group: 2,
    uniforms(open, sample) {
      const rng = open('antithetic', sample >> 1);
      return sample % 2 === 0 ? rng : () => Math.min(1 - rng(), LARGEST);
    },
  },
  stratified: {
    equation: 'u_{k,t} = (k/K + u) mod 1',
    claim: 'unbiased per sample; all K of a prompt are dependent',
    group: 0,
    uniforms(open, sample, samples) {
      const rng = open('stratified');
      return () => Math.min((sample / samples + rng()) % 1, LARGEST);
    },
  },
} satisfies Record<string, SamplingScheme>;

/** The largest number below 1. */
const LARGEST = 1 - 2 ** -53;

export type SamplingSchemeName = keyof typeof samplingSchemes;
export const samplingSchemeNames = Object.keys(samplingSchemes) as [
  SamplingSchemeName,
  ...SamplingSchemeName[],
];

/** The random stream of one response: a function of what it is for, never of what was drawn before. */
export function responseStream(
  scheme: SamplingSchemeName,
  address: { seed: number; round: number; promptIndex: number; sample: number; samples: number },
): { key: string; rng: Rng } {
  const { seed, round, promptIndex, sample, samples } = address;
  const place = `${seed}/rollout/${round}/${promptIndex}/${sample}`;
  return {
    key: scheme === 'independent' ? place : `${place}/${scheme}/${samples}`,
    rng: samplingSchemes[scheme].uniforms(
      (...more) => stream(seed, 'rollout', round, promptIndex, ...more),
      sample,
      samples,
    ),
  };
}
