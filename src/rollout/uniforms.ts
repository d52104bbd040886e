import { type Rng, stream } from '../random/streams.js';

/** How the K samples of one prompt come by their uniform numbers. */
export interface SamplingScheme {
  equation: string;
  /** What is known of the estimator under it; the marginal law of every single sample is the same in all schemes. */
  claim: string;
  cost: string;
  /** The samples that belong together: K must be a multiple of it. 0: all K. */
  group: number;
  /** What sample k of K makes of a shared number u. */
  place(sample: number, samples: number): Place;
}

/** u_k = (shift + sign·u) mod 1, u the next number of the stream of this address. */
export interface Place {
  stream: (number | string)[];
  shift: number;
  sign: 1 | -1;
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
    cost: 'none',
    group: 1,
    place: (sample) => ({ stream: [sample], shift: 0, sign: 1 }),
  },
  antithetic: {
    equation: 'u_{2j,t} = u, u_{2j+1,t} = 1 − u',
    claim: 'unbiased per sample; the two of a pair are dependent',
    cost: 'an even K of samples per prompt',
    group: 2,
    place: (sample) => ({
      stream: ['antithetic', sample >> 1],
      ...(sample % 2 === 0 ? { shift: 0, sign: 1 } : { shift: 1, sign: -1 }),
    }),
  },
  stratified: {
    equation: 'u_{k,t} = (k/K + u) mod 1',
    claim: 'unbiased per sample; all K of a prompt are dependent',
    cost: 'K samples per prompt',
    group: 0,
    place: (sample, samples) => ({ stream: ['stratified'], shift: sample / samples, sign: 1 }),
  },
} satisfies Record<string, SamplingScheme>;

/** The number in [0, 1) that a sample makes of the shared u. */
export function placed({ shift, sign }: Place, u: number): number {
  return (shift + sign * u) % 1;
}

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
  const own = samplingSchemes[scheme].place(sample, samples);
  const shared = stream(seed, 'rollout', round, promptIndex, ...own.stream);
  const place = `${seed}/rollout/${round}/${promptIndex}/${sample}`;
  return {
    key: scheme === 'independent' ? place : `${place}/${scheme}/${samples}`,
    rng: () => placed(own, shared()),
  };
}
