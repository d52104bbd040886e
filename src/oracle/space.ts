import type { World } from './world.js';

/**
 * A gradient of one response, which touches only the logits of the states it visits:
 *
 *     Σ_t { kl_t ∇KL_t + slope_t ∇ln q(y_t) }
 *     ∇ln q(y_t) = onehot(y_t) − q,   ∇KL_t = q(v) (ln q(v) − ln p(v) − KL_t),   in the logits of s_t
 */
export interface Gradient {
  tokens: Int32Array;
  states: Int32Array;
  kl: Float64Array;
  slope: Float64Array;
}

/** What the student's parameters are, and so what lengths and angles between gradients are. */
export interface ParameterSpace {
  /** Number of parameters. */
  size: number;
  /** Scalar product of two gradients, in the parameters. */
  inner(a: Gradient, b: Gradient): number;
  /** Scalar products of the terms of a gradient with one another, [tokens, tokens]. */
  products(a: Gradient): Float64Array;
  /** The gradient in the parameters for one in all logits, flat: state · V + token. */
  pull(gradient: Float64Array): Float64Array;
}

/**
 * The V + 1 gradients that occur at every state: ∇ln q(y | s) for every token y, and ∇KL as number V; each of them V numbers,
 * in the logits of s.
 */
export type Directions = Float64Array[][];

export function directionsOf({ states, vocab }: World): Directions {
  return states.map(({ logq, logp, kl }) => [
    ...Array.from({ length: vocab }, (_, y) => logq.map((l, v) => (v === y ? 1 : 0) - Math.exp(l))),
    logq.map((l, v) => Math.exp(l) * (l - logp[v]! - kl)),
  ]);
}

/** into[state · V + v] += factor · gradient */
export function addGradient(
  into: Float64Array,
  directions: Directions,
  { tokens, states, kl, slope }: Gradient,
  factor: number,
): void {
  for (let t = 0; t < tokens.length; t++) {
    const own = directions[states[t]!]!;
    const [score, shared] = [own[tokens[t]!]!, own.at(-1)!];
    const at = states[t]! * shared.length;
    for (let v = 0; v < shared.length; v++)
      into[at + v]! += factor * (kl[t]! * shared[v]! + slope[t]! * score[v]!);
  }
}

/** Scalar products of the directions of two states: number (a, b) is at `at + a · stride + b`. */
export interface ProductBlock {
  products: Float64Array;
  at: number;
  stride: number;
}

/** The parameters are the logits themselves: different states share nothing. */
export function tabularSpace(directions: Directions): ParameterSpace {
  const kinds = directions[0]!.length;
  const blocks = directions.map((own): ProductBlock => {
    const products = own.flatMap((a) => own.map((b) => dot(a, b)));
    return { products: Float64Array.from(products), at: 0, stride: kinds };
  });
  return {
    size: directions.length * (kinds - 1),
    inner(a, b) {
      let sum = 0;
      // Two paths through a tree agree until they part and never meet again.
      const length = Math.min(a.states.length, b.states.length);
      for (let i = 0; i < length && a.states[i] === b.states[i]; i++)
        sum += termProduct(blocks[a.states[i]!]!, a, i, b, i, kinds - 1);
      return sum;
    },
    products(a) {
      const n = a.states.length;
      const result = new Float64Array(n * n);
      for (let i = 0; i < n; i++)
        result[i * n + i] = termProduct(blocks[a.states[i]!]!, a, i, a, i, kinds - 1);
      return result;
    },
    pull: (gradient) => gradient,
  };
}

/** The product of term i of one gradient and term j of another. */
export function termProduct(
  { products, at, stride }: ProductBlock,
  a: Gradient,
  i: number,
  b: Gradient,
  j: number,
  vocab: number,
): number {
  const score = at + a.tokens[i]! * stride;
  const shared = at + vocab * stride;
  const y = b.tokens[j]!;
  return (
    a.kl[i]! * (b.kl[j]! * products[shared + vocab]! + b.slope[j]! * products[shared + y]!) +
    a.slope[i]! * (b.kl[j]! * products[score + vocab]! + b.slope[j]! * products[score + y]!)
  );
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
