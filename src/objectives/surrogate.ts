import * as tf from '@tensorflow/tfjs-core';
import { differentiable } from '../tensor/ops/custom.js';
import { groupMeans } from '../tensor/ops/index.js';
import { assertShape } from '../tensor/shape.js';

/** ε of both sides, or of each; 0 is off. */
export type ClipRange = number | { low: number; high: number };

/** Where ρ is cut, or undefined where it is not. */
export function clipBounds(cliprange: ClipRange): { least: number; most: number } | undefined {
  if (cliprange === 0) return undefined;
  const { low, high } = typeof cliprange === 'number' ? { low: cliprange, high: cliprange } : cliprange;
  return { least: 1 - low, most: 1 + high };
}

export interface Ratio {
  equation: string;
  source: string;
  /** What is known of the gradient at q_new = q_old, without a clip. */
  claim: string;
  /** Whether the value at a token is that of its whole response. */
  ofResponse: boolean;
  /** Whether the gradient is spread over the response as the value is. */
  spreads: boolean;
}

/**
 * The ratio of the surrogate, from δ_t = ln q_new(y_t|s_t) − ln q_old(y_t|s_t) over a response of L tokens. That of a response
 * averages δ: it does not spread with the length, and where A has one sign all tokens of the response are clipped or none.
 */
export const ratios = {
  token: {
    equation: 'exp(δ_t)',
    source: 'PPO, arXiv 1707.06347; MiniLLM',
    claim: '−A_t ∇ln q(y_t), which the oracle judges',
    ofResponse: false,
    spreads: false,
  },
  sequence: {
    equation: 's = exp((1/L) Σ_j δ_j) at every token',
    source: 'GSPO, arXiv 2507.18071, eq. 5 to 7',
    claim:
      'that of token with the mean of A over the response at each of its tokens: biased, which token earned what is lost. With one A a response and seq-mean-token-mean it is GSPO: −(A/L) Σ_t ∇ln q(y_t)',
    ofResponse: true,
    spreads: true,
  },
  'sequence-token': {
    equation: 's · q_new(y_t)/sg[q_new(y_t)]',
    source: 'GSPO-token, arXiv 2507.18071, eq. 13 and 14',
    claim: '−A_t ∇ln q(y_t), that of token: every claim of the oracle holds',
    ofResponse: true,
    spreads: false,
  },
} satisfies Record<string, Ratio>;

export type RatioName = keyof typeof ratios;
export const ratioNames = Object.keys(ratios) as [RatioName, ...RatioName[]];

/** Which ratio, and for that of a response how many tokens each has, in the order of the rows. */
export interface RatioOf {
  name: RatioName;
  lengths: ArrayLike<number>;
}

const perToken: RatioOf = { name: 'token', lengths: [] };

/** What the surrogate holds fixed, one number per token. */
export interface SurrogateConstants {
  /** ln q_old(y_t | s_t), [N] */
  oldLogprobs: tf.Tensor1D;
  /** A_t, [N] */
  advantages: tf.Tensor1D;
  /** w_t, [N] */
  weights: tf.Tensor1D;
}

/** Per-token results, all [N]. */
export interface Surrogate {
  /** The loss of each token, differentiable in ln q_new. */
  loss: tf.Tensor1D;
  /** The ratio (`ratios`), without w. */
  ratio: tf.Tensor1D;
  /** 1 where the clipped branch is the larger one, so that no gradient flows; else 0. Its mean is the clip fraction. */
  clipped: tf.Tensor1D;
}

/**
 * The clipped surrogate (Schulman et al. 2017, arXiv 1707.06347, eq. 7), the importance weight inside the ratio as in
 * LMOps losses.py:
 *
 *     ρ_t = w_t · exp(ln q_new − ln q_old)       or w_t times another ratio of `ratios`
 *     loss_t = max(−A_t ρ_t, −A_t clip(ρ_t, 1 − ε, 1 + ε))
 *
 * The sides may differ, 1 − ε_low and 1 + ε_high (DAPO, Yu et al., arXiv 2503.14476, eq. 8: a higher ε_high lets unlikely tokens
 * grow). ε = 0 switches the clip off: loss_t = −A_t ρ_t. Since w is inside, a token can be clipped at the very first inner
 * update; with ε = 0.2: A < 0 and w < 0.8 (the teacher much likelier), or A > 0 and w > 1.2.
 *
 * Gradient only through ln q_new: −A_t ρ_t where not clipped, else 0 (equal branches count as not clipped); with ratio `sequence`
 * the mean of it over the response, for s depends on every token alike.
 *
 * @param logprobs ln q_new(y_t | s_t), [N]
 * @param ratio default `token`
 * @throws UsageError if a constant has another shape
 */
export function surrogate(
  logprobs: tf.Tensor1D,
  constants: SurrogateConstants,
  cliprange: ClipRange,
  ratio: RatioOf = perToken,
): Surrogate {
  for (const [name, x] of Object.entries(constants)) assertShape(x, logprobs.shape, `surrogate: ${name}`);
  const loss = differentiable<tf.Tensor1D>(
    [logprobs],
    (save) => {
      const { plain, worst, clipped } = branches(logprobs, constants, cliprange, ratio);
      save([tf.mul(plain, tf.sub(1, clipped))]);
      return worst;
    },
    (dy, [slope]) => {
      const own = tf.mul<tf.Tensor1D>(dy, slope!);
      return [ratios[ratio.name].spreads ? groupMeans(own, ratio.lengths) : own];
    },
  );
  const { ratio: values, clipped } = branches(logprobs, constants, cliprange, ratio);
  return { loss, ratio: values, clipped };
}

function branches(
  logprobs: tf.Tensor1D,
  constants: SurrogateConstants,
  cliprange: ClipRange,
  { name, lengths }: RatioOf,
) {
  const change = tf.sub<tf.Tensor1D>(logprobs, constants.oldLogprobs);
  const ratio = tf.exp(ratios[name].ofResponse ? groupMeans(change, lengths) : change);
  const rho = tf.mul<tf.Tensor1D>(ratio, constants.weights);
  const minusAdvantage = tf.neg(constants.advantages);
  const plain = tf.mul<tf.Tensor1D>(minusAdvantage, rho);
  const bounds = clipBounds(cliprange);
  if (!bounds) return { ratio, plain, worst: plain.clone(), clipped: tf.zerosLike(plain) };
  const bounded = tf.mul<tf.Tensor1D>(minusAdvantage, tf.clipByValue(rho, bounds.least, bounds.most));
  const clipped = tf.cast(tf.greater<tf.Tensor1D>(bounded, plain), 'float32');
  return { ratio, plain, worst: tf.maximum<tf.Tensor1D>(plain, bounded), clipped };
}

/**
 * The slope of loss_t in ln q_new for one token in float64, for the oracle: −A ρ, or 0 where clipped.
 */
export function surrogateSlope(advantage: number, rho: number, cliprange: ClipRange): number {
  const plain = -advantage * rho;
  const bounds = clipBounds(cliprange);
  if (!bounds) return plain;
  const bounded = -advantage * Math.min(bounds.most, Math.max(bounds.least, rho));
  return bounded > plain ? 0 : plain;
}
