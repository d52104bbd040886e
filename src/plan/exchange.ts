import { PIECE } from '../cluster/sum.js';
import type { Network } from './network.js';

/** What one rank sends; it receives as much at the same time. */
export interface Traffic {
  bytes: number;
  /** Messages that are waited for one after the other. */
  messages: number;
}

/** A few numbers of every rank, so often in a step: whether to stop, whether the budget is spent, the losses (training/loop.ts). */
const MEETINGS = 9;
/** Of a trajectory: the id and six numbers for every token of the response (rollout/trajectory.ts). */
const BYTES_A_TOKEN = 28;

/**
 * The sum of a gradient of N float32 numbers over R ranks by recursive halving and doubling (cluster/sum.ts):
 *
 *     bytes = 2 · 4 N (R − 1) / R        messages = 2 log2(R) · pieces
 *
 * @param arrays numbers of what goes together (`bundles`); each is cut into pieces of its own
 */
export function gradientTraffic(arrays: readonly number[], ranks: number): Traffic {
  const numbers = arrays.reduce((sum, n) => sum + n, 0);
  const pieces = arrays.reduce((sum, n) => sum + Math.ceil(n / PIECE), 0);
  return { bytes: (8 * numbers * (ranks - 1)) / ranks, messages: 2 * Math.log2(ranks) * pieces };
}

/**
 * Gathering what all ranks have, so that each has all of it, by recursive doubling, the lengths before it (cluster/collectives.ts):
 *
 *     bytes = total (R − 1) / R          messages = 2 log2(R)
 */
export function gatherTraffic(total: number, ranks: number): Traffic {
  return { bytes: (total * (ranks - 1)) / ranks, messages: 2 * Math.log2(ranks) };
}

/**
 * All that an optimizer step exchanges: the gradient, the trajectories of fresh responses, and the meetings.
 *
 * @param tokens of sampled responses, a step @param rounds of sampling, a step
 */
export function stepTraffic(
  arrays: readonly number[],
  { tokens, rounds }: { tokens: number; rounds: number },
  ranks: number,
): Traffic {
  const gradient = gradientTraffic(arrays, ranks);
  const gathered = gatherTraffic(BYTES_A_TOKEN * tokens, ranks);
  const perGather = 2 * Math.log2(ranks);
  return {
    bytes: gradient.bytes + gathered.bytes,
    // With the trajectories the ranks meet once more.
    messages: gradient.messages + (MEETINGS + 2 * rounds) * perGather,
  };
}

/** Seconds on the wire: `bytes / bandwidth + messages · latency`. */
export function secondsOnWire({ bytes, messages }: Traffic, { bandwidth, latency }: Network): number {
  return bytes / bandwidth + messages * latency;
}
