import type { World } from './world.js';

/**
 * One sampled response as the oracle sees it. Its gradient touches only the logits of the states it visits:
 *
 *     g(y) = Σ_t { kl_t ∇KL_t + slope_t ∇ln q(y_t) },   in the logits of s_t
 *     ∇ln q(y_t) = onehot(y_t) − q,   ∇KL_t = q(v) (ln q(v) − ln p(v) − KL_t)
 *
 * so two coefficients per token say everything, and terms of different t are orthogonal (they live in different logits).
 */
export interface SampledGradient {
  probability: number;
  tokens: Int32Array;
  /** Index of s_t into `World.states`. */
  states: Int32Array;
  kl: Float64Array;
  slope: Float64Array;
  /** w_t: with ∇ln q(y_t) it is what a baseline multiplies. */
  w: Float64Array;
  /** G_t: what other samples of the prompt use as baseline. */
  returns: Float64Array;
}

/** The two gradient vectors of every state, and their scalar products. */
export interface Geometry {
  vocab: number;
  /** ∇ln q(y | s) at [s][y]. */
  score: Float64Array[][];
  /** ∇KL at [s]. */
  kl: Float64Array[];
  /** Products at [s][y]: ∇ln q(y)·∇ln q(y), ∇ln q(y)·∇KL; and ∇KL·∇KL at [s]. */
  scoreScore: Float64Array[];
  scoreKl: Float64Array[];
  klKl: Float64Array;
}

export function geometryOf(world: World): Geometry {
  const score = world.states.map(({ logq }) =>
    Array.from({ length: world.vocab }, (_, y) => logq.map((l, v) => (v === y ? 1 : 0) - Math.exp(l))),
  );
  const kl = world.states.map(({ logq, logp, kl }) => logq.map((l, v) => Math.exp(l) * (l - logp[v]! - kl)));
  return {
    vocab: world.vocab,
    score,
    kl,
    scoreScore: score.map((rows) => Float64Array.from(rows, (row) => dot(row, row))),
    scoreKl: score.map((rows, s) => Float64Array.from(rows, (row) => dot(row, kl[s]!))),
    klKl: Float64Array.from(kl, (row) => dot(row, row)),
  };
}

/** |g(y)|² */
export function squaredNorm(geometry: Geometry, { tokens, states, kl, slope }: SampledGradient): number {
  let sum = 0;
  for (let t = 0; t < tokens.length; t++) {
    const [s, y] = [states[t]!, tokens[t]!];
    sum += slope[t]! ** 2 * geometry.scoreScore[s]![y]!;
    sum += 2 * slope[t]! * kl[t]! * geometry.scoreKl[s]![y]! + kl[t]! ** 2 * geometry.klKl[s]!;
  }
  return sum;
}

/** Σ probability · g over responses, flat: state · vocab + token. */
export function meanGradient(geometry: Geometry, gradients: readonly SampledGradient[]): Float64Array {
  const mean = new Float64Array(geometry.kl.length * geometry.vocab);
  for (const { probability, tokens, states, kl, slope } of gradients) {
    for (let t = 0; t < tokens.length; t++) {
      addBlock(mean, states[t]!, geometry.score[states[t]!]![tokens[t]!]!, probability * slope[t]!);
      addBlock(mean, states[t]!, geometry.kl[states[t]!]!, probability * kl[t]!);
    }
  }
  return mean;
}

/** into[state] += factor · block */
export function addBlock(into: Float64Array, state: number, block: ArrayLike<number>, factor: number): void {
  const at = state * block.length;
  for (let v = 0; v < block.length; v++) into[at + v]! += factor * block[v]!;
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
