import type { Cluster } from './cluster.js';

/** What all ranks do together, made of swaps between two. The number of ranks is a power of two. */
type Ranks = Pick<Cluster, 'rank' | 'size' | 'exchange'>;

const nothing = new Uint8Array(0);

/**
 * Every rank begins with its own part of something and ends with all: at each of log2(size) levels it swaps what its half of a
 * group has for what the other half has.
 *
 * @param part the parts of the ranks from `first` to before `after`, next to each other in memory
 */
function double({ rank, size, exchange }: Ranks, part: (first: number, after: number) => Uint8Array): void {
  for (let width = 1; width < size; width *= 2) {
    const partner = rank ^ width;
    const [mine, theirs] = [rank - (rank % width), partner - (partner % width)];
    exchange(partner, part(mine, mine + width), part(theirs, theirs + width)).wait();
  }
}

/** The lengths first. A part begins at a multiple of eight bytes, so that it can be looked at as numbers. */
export function gather(ranks: Ranks, own: Uint8Array): Uint8Array[] {
  const { rank, size } = ranks;
  const lengths = new Float64Array(size);
  lengths[rank] = own.length;
  const bytes = new Uint8Array(lengths.buffer);
  double(ranks, (first, after) => bytes.subarray(8 * first, 8 * after));
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1)! + 8 * Math.ceil(length / 8));
  const all = new Uint8Array(offsets[size]!);
  all.set(own, offsets[rank]);
  double(ranks, (first, after) => all.subarray(offsets[first], offsets[after]));
  return [...lengths].map((length, i) => all.subarray(offsets[i], offsets[i]! + length));
}

/** A binomial tree: at each level who has it gives it to one more. The length first. */
export function broadcast(ranks: Ranks, own: Uint8Array): Uint8Array {
  const length = new Float64Array([own.length]);
  spread(ranks, new Uint8Array(length.buffer));
  const data = ranks.rank === 0 ? own : new Uint8Array(length[0]!);
  spread(ranks, data);
  return data;
}

function spread({ rank, size, exchange }: Ranks, data: Uint8Array): void {
  for (let width = 1; width < size; width *= 2) {
    if (rank < width) exchange(rank + width, data, nothing).wait();
    else if (rank < 2 * width) exchange(rank - width, nothing, data).wait();
  }
}

export function barrier(ranks: Ranks): void {
  double(ranks, () => nothing);
}
