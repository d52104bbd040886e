import { mapTokens, type Ragged } from './ragged.js';

export interface KlEstimator {
  equation: string;
  /** Mean over student samples equals the reverse KL. */
  unbiased: boolean;
  claim: string;
  needsKl: boolean;
  /** One value per token from the log-ratio r = ln p − ln q and, where needed, the exact KL at the state. */
  token(logRatio: number, kl: number): number;
}

/**
 * Estimates of the reverse KL per token from samples of the student, for reporting only (Schulman, "Approximating KL
 * Divergence", 2020): their mean over tokens drawn from q estimates KL(q‖p) at the states the student visits, their
 * sum over a response the sequence-level KL. With r = ln p(y_t) − ln q(y_t), unscaled:
 */
export const klEstimators = {
  k1: {
    equation: '−r',
    unbiased: true,
    claim: 'unbiased, the noisiest, can be negative',
    needsKl: false,
    token: (r) => -r,
  },
  k2: {
    equation: 'r²/2',
    unbiased: false,
    claim: 'biased (second order in r), never negative',
    needsKl: false,
    token: (r) => (r * r) / 2,
  },
  k3: {
    equation: 'exp(r) − 1 − r',
    unbiased: true,
    claim: 'unbiased where q covers p, never negative (what LMOps logs)',
    needsKl: false,
    token: (r) => Math.expm1(r) - r,
  },
  'rao-blackwell': {
    equation: 'KL_t = Σ_v q(v) ln(q(v)/p(v))',
    unbiased: true,
    claim: 'unbiased, no sampling noise within a state',
    needsKl: true,
    token: (_, kl) => kl,
  },
} satisfies Record<string, KlEstimator>;

export type KlEstimatorName = keyof typeof klEstimators;
export const klEstimatorNames = Object.keys(klEstimators) as [KlEstimatorName, ...KlEstimatorName[]];

/**
 * Per-token estimates of a batch of the student's own samples, nats.
 *
 * @param logRatios ln p − ln q at temperature 1, ragged @param kl exact KL at every state, for `rao-blackwell`
 * @throws RangeError when `rao-blackwell` is asked for without it
 */
export function estimateKl(name: KlEstimatorName, logRatios: Ragged, kl?: Ragged): Float64Array[] {
  const estimator: KlEstimator = klEstimators[name];
  if (estimator.needsKl && !kl) throw new RangeError(`KL estimator ${name} needs the KL at every state`);
  return mapTokens(logRatios, (r, t, row) => estimator.token(r, kl ? kl[row]![t]! : Number.NaN));
}
