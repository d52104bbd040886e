import { type Place, placed, type SamplingSchemeName, samplingSchemes } from '../rollout/uniforms.js';
import type { Enumeration } from './enumeration.js';
import type { State } from './world.js';

/** K sequences of one prompt (indices into `Enumeration.sequences`, in ascending order) and the probability to draw them, in any order. */
export interface Tuple {
  rows: Int32Array;
  probability: number;
}

/** More tuples than this are not enumerated. */
export const maxTuples = 50_000;

/** The samples of one prompt that share random numbers, by the address of their stream. */
function groupsOf(scheme: SamplingSchemeName, samples: number): Place[][] {
  const groups = new Map<string, Place[]>();
  for (let k = 0; k < samples; k++) {
    const place = samplingSchemes[scheme].place(k, samples);
    const key = place.stream.join('/');
    groups.set(key, [...(groups.get(key) ?? []), place]);
  }
  return [...groups.values()];
}

/**
 * The exact joint law of the K samples of every prompt: per prompt a list of tuples whose probabilities add up to 1.
 * undefined when there are more than `maxTuples` of a prompt.
 */
export function tupleLaw(
  enumeration: Enumeration,
  alpha: number,
  scheme: SamplingSchemeName,
  samples: number,
): Tuple[][] | undefined {
  const groups = groupsOf(scheme, samples);
  const laws = enumeration.world.roots.map((root) => {
    // Groups are alike: the same places, on streams of their own.
    const law = coupledLaw(enumeration, alpha, root, groups[0]!);
    return law && repeated(law, groups.length);
  });
  return laws.every((law) => law !== undefined) ? laws : undefined;
}

/**
 * All ordered pairs of samples that share random numbers: for every prompt a list of pairs of sequences whose masses add up
 * to the number of such pairs, K for `antithetic` and K (K−1) for `stratified`.
 */
export function pairLaw(
  enumeration: Enumeration,
  alpha: number,
  scheme: SamplingSchemeName,
  samples: number,
): Tuple[][] | undefined {
  const laws = enumeration.world.roots.map((root) => {
    const pairs = new Map<string, Tuple>();
    for (const group of groupsOf(scheme, samples)) {
      for (const [i, a] of group.entries()) {
        for (const b of group.slice(i + 1)) {
          const law = coupledLaw(enumeration, alpha, root, [a, b]);
          if (!law) return undefined;
          for (const { rows, probability } of law) add(pairs, rows, 2 * probability);
        }
      }
    }
    return [...pairs.values()];
  });
  return laws.every((law) => law !== undefined) ? laws : undefined;
}

/** A sample on its way through the tree: its state, or −1 − (index of its sequence) once it has ended. */
type Position = number;

/**
 * The joint law of samples that turn the same number u_t into their own at every step (`placed`) and draw by inversion of the
 * cumulative distribution: [0, 1) falls into intervals on which every sample draws the same token, and the probability of a
 * tuple is the product over the steps of the lengths of its intervals, because u_t is fresh at every step.
 */
function coupledLaw(
  enumeration: Enumeration,
  alpha: number,
  root: number,
  places: readonly Place[],
): Tuple[] | undefined {
  const { world } = enumeration;
  const ends = sequenceAfter(enumeration);
  const cumulative = world.states.map((state) => cumulativeOf(state, alpha));
  const tuples = new Map<string, Tuple>();
  const visit = (positions: readonly Position[], probability: number): boolean => {
    if (positions.every((p) => p < 0)) {
      add(
        tuples,
        positions.map((p) => -1 - p),
        probability,
      );
      return tuples.size <= maxTuples;
    }
    const cuts = positions.flatMap((p, k) => (p < 0 ? [] : breakpoints(cumulative[p]!, places[k]!)));
    const edges = [0, ...cuts.sort((a, b) => a - b), 1];
    for (let i = 1; i < edges.length; i++) {
      const length = edges[i]! - edges[i - 1]!;
      if (!(length > 0)) continue;
      const u = edges[i - 1]! + length / 2;
      const next = positions.map((p, k): Position => {
        if (p < 0) return p;
        const token = invert(cumulative[p]!, placed(places[k]!, u));
        const after = world.states[p]!.next[token]!;
        return after >= 0 ? after : -1 - ends[p * world.vocab + token]!;
      });
      if (!visit(next, probability * length)) return false;
    }
    return true;
  };
  return visit(
    places.map(() => root),
    1,
  )
    ? [...tuples.values()]
    : undefined;
}

/** Σ_{w≤v} p̃(w), in the order of the ids, as the sampler adds it up. */
function cumulativeOf({ logq, logp }: State, alpha: number): Float64Array {
  let sum = 0;
  const sums = logq.map((l, v) => (sum += alpha * Math.exp(logp[v]!) + (1 - alpha) * Math.exp(l)));
  return sums.map((x) => x / sum);
}

/** Where in u the token changes, or the sample's own number wraps around. */
function breakpoints(cumulative: Float64Array, { shift, sign }: Place): number[] {
  const boundaries = [0, ...cumulative.subarray(0, -1)];
  return boundaries.map((c) => (((sign * (c - shift)) % 1) + 1) % 1);
}

/** The token at u: the first whose running sum exceeds it. */
function invert(cumulative: Float64Array, u: number): number {
  const token = cumulative.findIndex((sum) => sum > u);
  return token < 0 ? cumulative.length - 1 : token;
}

/** Index of the sequence that ends with token v drawn in state s, at s·V + v. */
function sequenceAfter({ world, sequences }: Enumeration): Int32Array {
  const ends = new Int32Array(world.states.length * world.vocab).fill(-1);
  sequences.forEach(({ states, tokens }, row) => {
    ends[states.at(-1)! * world.vocab + tokens.at(-1)!] = row;
  });
  return ends;
}

/** Independent repetitions of a law, in any order: combinations with repetition, each with its number of orders. */
function repeated(law: readonly Tuple[], times: number): Tuple[] | undefined {
  if (times === 1) return [...law];
  if (combinations(law.length, times) > maxTuples) return undefined;
  const tuples = new Map<string, Tuple>();
  const visit = (from: number, left: number, run: number, rows: number[], weight: number): void => {
    if (left === 0) add(tuples, rows, weight);
    for (let i = from; left > 0 && i < law.length; i++) {
      // times! / Π runs!, one factor at a time: the n-th item stands in n places, the r-th of its kind in r of them.
      const again = i === from ? run + 1 : 1;
      const orders = (times - left + 1) / again;
      visit(i, left - 1, again, [...rows, ...law[i]!.rows], weight * orders * law[i]!.probability);
    }
  };
  visit(0, times, 0, [], 1);
  return [...tuples.values()];
}

function combinations(kinds: number, times: number): number {
  let count = 1;
  for (let i = 1; i <= times; i++) count *= (kinds + i - 1) / i;
  return count;
}

function add(tuples: Map<string, Tuple>, rows: ArrayLike<number>, probability: number): void {
  const sorted = Int32Array.from(rows).sort();
  const key = sorted.join();
  const known = tuples.get(key);
  if (known) known.probability += probability;
  else tuples.set(key, { rows: sorted, probability });
}
