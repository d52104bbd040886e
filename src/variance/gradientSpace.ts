import { stream } from '../random/streams.js';
import type { Params } from '../tensor/params.js';
import type { Gram } from './statistics.js';

/** Where gradients are compared: as they are, or after random projections that keep scalar products on average. */
export interface GradientSpace {
  kind: 'exact' | 'projections';
  /** Numbers that one gradient becomes. */
  dimensions: number;
  /** Numbers in a gradient. */
  parameters: number;
  vector(grads: Params): Float32Array;
}

/** All numbers of a gradient, parameter after parameter in the order of the record: every scalar product is exact. */
export function exactSpace(params: Params): GradientSpace {
  const names = Object.keys(params);
  const parameters = names.reduce((sum, name) => sum + params[name]!.size, 0);
  return {
    kind: 'exact',
    dimensions: parameters,
    parameters,
    vector(grads) {
      const all = new Float32Array(parameters);
      let at = 0;
      for (const name of names) {
        all.set(grads[name]!.dataSync<'float32'>(), at);
        at += params[name]!.size;
      }
      return all;
    },
  };
}

/**
 * A sketch of `dimensions` random projections (the count sketch: Charikar, Chen and Farach-Colton 2002; as a projection:
 * Weinberger et al., arXiv 0902.2206): every parameter is added, with a random sign, to one random number of the sketch.
 *
 *     s_k = Σ_{n: h(n)=k} σ_n g_n,   E⟨s(a), s(b)⟩ = ⟨a, b⟩,   variance at most 2 |a|²|b|² / dimensions
 *
 * One pass over the gradient whatever the size of the sketch. The hash and the signs are drawn from streams named by the
 * parameter and stay the same for all gradients, so that differences of gradients are projected, too.
 */
export function projectionSpace(params: Params, dimensions: number, seed: number): GradientSpace {
  const names = Object.keys(params);
  const places = names.map((name) => {
    const rng = stream(seed, 'projection', name);
    // Twice the place, plus one for a negative sign.
    return Int32Array.from({ length: params[name]!.size }, () => Math.floor(rng() * 2 * dimensions));
  });
  return {
    kind: 'projections',
    dimensions,
    parameters: names.reduce((sum, name) => sum + params[name]!.size, 0),
    vector(grads) {
      const sketch = new Float64Array(dimensions);
      names.forEach((name, i) => {
        const values = grads[name]!.dataSync<'float32'>();
        places[i]!.forEach((place, n) => {
          sketch[place >> 1]! += place & 1 ? -values[n]! : values[n]!;
        });
      });
      return Float32Array.from(sketch);
    },
  };
}

/** Gradients of one estimator and of the reference are held at a time: exact ones up to this many bytes. */
const EXACT_BYTES = 1 << 30;
/** Then a scalar product is off by about one part in a hundred of the two norms (√(2/dimensions)). */
const DEFAULT_PROJECTIONS = 16_384;

/** Exact scalar products where M gradients fit into memory twice, else projections; or as many as were asked for. */
export function gradientSpace(
  params: Params,
  { repeats, seed, projections }: { repeats: number; seed: number; projections?: number },
): GradientSpace {
  const exact = exactSpace(params);
  if (projections === undefined && 8 * repeats * exact.parameters <= EXACT_BYTES) return exact;
  return projectionSpace(params, projections ?? DEFAULT_PROJECTIONS, seed);
}

/** ⟨a_i, b_j⟩ for all i and j, summed in float64. */
export function gram(a: readonly Float32Array[], b: readonly Float32Array[]): Gram {
  const result = a.map(() => new Float64Array(b.length));
  for (let i = 0; i < a.length; i++) {
    for (let j = a === b ? i : 0; j < b.length; j++) {
      result[i]![j] = product(a[i]!, b[j]!);
      if (a === b) result[j]![i] = result[i]![j]!;
    }
  }
  return result;
}

function product(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let n = 0; n < a.length; n++) sum += a[n]! * b[n]!;
  return sum;
}
