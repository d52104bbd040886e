import seedrandom from 'seedrandom';

/** A source of uniform numbers in [0, 1), 32 random bits or more each. */
export type Rng = () => number;

/**
 * The random stream with the given address, e.g. `stream(seed, 'rollout', round, promptId, sample)`.
 *
 * Randomness here is addressed, not consumed: two calls with the same address give the same numbers whatever
 * was drawn elsewhere, so a rollout does not depend on batch size, order, workers or what ran before it.
 * The address is encoded as JSON, hence ('a', 1) and ('a1') are different streams.
 */
export function stream(seed: number | string, ...address: (number | string)[]): Rng {
  return seedrandom(JSON.stringify([seed, ...address]));
}

/** A standard normal deviate (Box-Muller, the cosine branch only: two uniforms a number, no hidden state). */
export function normal(rng: Rng): number {
  const radius = Math.sqrt(-2 * Math.log(1 - rng()));
  return radius * Math.cos(2 * Math.PI * rng());
}

/** An integer uniform in [0, n). */
export function integer(rng: Rng, n: number): number {
  return Math.floor(rng() * n);
}

/** A uniformly random permutation of 0..n-1 (Fisher-Yates). */
export function permutation(n: number, rng: Rng): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = integer(rng, i + 1);
    const t = order[i]!;
    order[i] = order[j]!;
    order[j] = t;
  }
  return order;
}
