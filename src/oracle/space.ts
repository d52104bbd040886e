import { costs } from './costs.js';
import type { World } from './world.js';

/**
 * A gradient of one response, which touches only the logits of the states it visits:
 *
 *     Σ_t { kl_t ∇KL_t + slope_t ∇ln q(y_t) + cost_t Σ_a ∇q(a|s_t) C(s_t,a) }
 *     ∇ln q(y_t) = onehot(y_t) − q,   ∇KL_t = q(v) (ln q(v) − ln p(v) − KL_t),   in the logits of s_t,
 *     the last     q(v) (C(v) − Σ_a q(a) C(a)), C the exact cost of an action and all that follows (costs.ts)
 */
export interface Gradient {
  tokens: Int32Array;
  states: Int32Array;
  kl: Float64Array;
  slope: Float64Array;
  /** Only of a baseline of actions. */
  cost?: Float64Array;
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
 * The V + 2 gradients that occur at every state: ∇ln q(y | s) for every token y, ∇KL as number V, and as number V + 1 that of the cost of
 * every action; each of them V numbers, in the logits of s.
 */
export type Directions = Float64Array[][];

export function directionsOf(world: World): Directions {
  const { value, cost } = costs(world);
  return world.states.map(({ logq, logp, kl }, s) => [
    ...Array.from({ length: world.vocab }, (_, y) => logq.map((l, v) => (v === y ? 1 : 0) - Math.exp(l))),
    logq.map((l, v) => Math.exp(l) * (l - logp[v]! - kl)),
    logq.map((l, v) => Math.exp(l) * (cost[s]![v]! - value[s]!)),
  ]);
}

/** into[state · V + v] += factor · gradient */
export function addGradient(
  into: Float64Array,
  directions: Directions,
  { tokens, states, kl, slope, cost }: Gradient,
  factor: number,
): void {
  for (let t = 0; t < tokens.length; t++) {
    const own = directions[states[t]!]!;
    const vocab = own.length - 2;
    const [score, shared] = [own[tokens[t]!]!, own[vocab]!];
    const at = states[t]! * vocab;
    for (let v = 0; v < vocab; v++) into[at + v]! += factor * (kl[t]! * shared[v]! + slope[t]! * score[v]!);
    if (cost) for (let v = 0; v < vocab; v++) into[at + v]! += factor * cost[t]! * own[vocab + 1]![v]!;
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
    size: directions.length * (kinds - 2),
    inner(a, b) {
      let sum = 0;
      // Two paths through a tree agree until they part and never meet again.
      const length = Math.min(a.states.length, b.states.length);
      for (let i = 0; i < length && a.states[i] === b.states[i]; i++)
        sum += termProduct(blocks[a.states[i]!]!, a, i, b, i, kinds - 2);
      return sum;
    },
    products(a) {
      const n = a.states.length;
      const result = new Float64Array(n * n);
      for (let i = 0; i < n; i++)
        result[i * n + i] = termProduct(blocks[a.states[i]!]!, a, i, a, i, kinds - 2);
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
  const product =
    a.kl[i]! * (b.kl[j]! * products[shared + vocab]! + b.slope[j]! * products[shared + y]!) +
    a.slope[i]! * (b.kl[j]! * products[score + vocab]! + b.slope[j]! * products[score + y]!);
  if (!a.cost || !b.cost) return product;
  const costs = shared + stride;
  return (
    product +
    b.cost[j]! * (a.kl[i]! * products[shared + vocab + 1]! + a.slope[i]! * products[score + vocab + 1]!) +
    a.cost[i]! *
      (b.kl[j]! * products[costs + vocab]! +
        b.slope[j]! * products[costs + y]! +
        b.cost[j]! * products[costs + vocab + 1]!)
  );
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
