import { oneShard, type Shards } from '../cluster/shards.js';
import { chunks } from '../models/packed.js';
import type { Sequence } from '../models/sequence.js';

/** Responses in one forward and backward pass where `train.micro_batch_size` is not given. */
export const MICRO_BATCH = 16;

/**
 * A batch cut into pieces of at most `size` sequences of similar length, which keeps the padding low. The pieces'
 * losses add up, so the cut changes nothing but rounding.
 */
export function microBatches<T extends Sequence>(sequences: readonly T[], size = MICRO_BATCH): T[][] {
  const lengthOf = (s: T): number => s.promptIds.length + s.responseIds.length;
  return chunks(
    [...sequences].sort((a, b) => lengthOf(a) - lengthOf(b)),
    size,
  );
}

/**
 * The micro-batches of this rank's shards of a batch, shard after shard, each with the number of its shard. With one shard: those of
 * `microBatches`.
 */
export function ownMicroBatches<T extends Sequence>(
  sequences: readonly T[],
  size: number | undefined,
  shards: Shards = oneShard,
): { part: T[]; shard: number }[] {
  return shards.own.flatMap((shard) =>
    microBatches(shards.part(sequences, shard), size).map((part) => ({ part, shard })),
  );
}
