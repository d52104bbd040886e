import { permutation, stream } from '../random/streams.js';

/**
 * The examples of batch number `step`: epoch after epoch, each a fresh permutation of 0..n-1, cut into consecutive
 * batches that run across the seams. A function of its arguments alone, so a resumed run needs only its step.
 */
export function batchIndices(
  seed: number,
  purpose: string,
  step: number,
  n: number,
  batchSize: number,
): number[] {
  const indices: number[] = [];
  let order: Int32Array | undefined;
  let epochOfOrder = -1;
  for (let k = step * batchSize; k < (step + 1) * batchSize; k++) {
    const epoch = Math.floor(k / n);
    if (epoch !== epochOfOrder || !order) {
      order = epochOrder(seed, purpose, epoch, n);
      epochOfOrder = epoch;
    }
    indices.push(order[k % n]!);
  }
  return indices;
}

/**
 * As `batchIndices`, but no batch runs across a seam: what is left of an epoch (fewer than `size`) is left out of it,
 * so that the indices of a batch are all different. For rollouts, whose random streams are named by the prompt: the
 * same prompt twice in a round would be answered with the same words.
 */
export function distinctIndices(
  seed: number,
  purpose: string,
  batch: number,
  n: number,
  size: number,
): number[] {
  const perEpoch = Math.floor(n / size);
  const first = (batch % perEpoch) * size;
  const order = epochOrder(seed, purpose, Math.floor(batch / perEpoch), n);
  return Array.from(order.subarray(first, first + size));
}

const cache = new Map<string, Int32Array>();

/** Permuting 30,000 rows at every step would cost more than the step; the last few epochs are remembered. */
function epochOrder(seed: number, purpose: string, epoch: number, n: number): Int32Array {
  const key = `${seed}/${purpose}/${epoch}/${n}`;
  const known = cache.get(key);
  if (known) return known;
  if (cache.size >= 4) cache.delete(cache.keys().next().value!);
  const order = permutation(n, stream(seed, 'order', purpose, epoch));
  cache.set(key, order);
  return order;
}
