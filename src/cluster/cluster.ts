/**
 * The processes that work on one run together, seen from one of them. All of them call the same functions in the same order;
 * everything blocks until the partner has done its part.
 */
export interface Cluster {
  /** 0 … size − 1. Rank 0 writes and prints. */
  readonly rank: number;
  /** A power of two. */
  readonly size: number;
  /**
   * Swaps bytes with a partner, who calls it with this rank: `out` goes there, what the partner gives fills `into`. Transfer
   * begins at once and is over after `wait`; several may be under way, with one partner in the order in which they began.
   * Both arrays stay untouched until then. What is long goes in pieces.
   *
   * @throws RunError from `wait`, naming the partner, when nothing came for the time of `--rank-timeout`
   */
  exchange(partner: number, out: Uint8Array, into: Uint8Array): Exchange;
  /** What every rank gives, in the order of the ranks. */
  gather(own: Uint8Array): Uint8Array[];
  /** What rank 0 gives; the others' argument is not read. */
  broadcast(own: Uint8Array): Uint8Array;
  barrier(): void;
  /**
   * Memory of this process at an address, to exchange without a copy; where it is missing, copies are. The caller sees to it that
   * the memory outlives the view.
   */
  memory?(address: number, bytes: number): ArrayBuffer;
  /** Ends all processes at once, with this exit code. */
  abort(code: number): never;
}

export interface Exchange {
  wait(): void;
}

/** One process by itself. */
export const alone: Cluster = {
  rank: 0,
  size: 1,
  exchange(partner) {
    throw new Error(`exchange: there is no rank ${partner}`);
  },
  gather: (own) => [own],
  broadcast: (own) => own,
  barrier() {},
  abort: (code) => process.exit(code),
};
