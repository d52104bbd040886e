import { hostname } from 'node:os';
import { RunError } from '../errors.js';
import type { Mpi } from './addon.js';
import type { Cluster, Exchange } from './cluster.js';
import { barrier, broadcast, gather } from './collectives.js';

/** Bytes of a message. Two are under way, so that the partner's next is asked for while one is still coming. */
const PIECE = 4 * 2 ** 20;
/** Tags that every MPI has: 0 … 32767. */
const TAGS = 2 ** 15;

/** Processes that an MPI connects. */
export class MpiCluster implements Cluster {
  readonly rank: number;
  readonly size: number;
  /** Where each rank runs. */
  readonly hosts: string[] = [];
  /** Exchanges begun with each rank. A message is known by the exchange that it belongs to, and among those by its order. */
  private readonly begun: number[];

  /** Starts MPI in this process. @param timeout seconds after which a partner that has not answered is given up */
  constructor(
    private readonly mpi: Mpi,
    private readonly timeout: number,
  ) {
    const { rank, size } = this.answered('MPI does not start', () => mpi.init());
    this.rank = rank;
    this.size = size;
    this.begun = Array.from({ length: size }, () => 0);
  }

  /** Lets all know where each runs. */
  meet(): void {
    const names = this.gather(new TextEncoder().encode(hostname()));
    this.hosts.push(...names.map((name) => new TextDecoder().decode(name)));
  }

  readonly exchange = (partner: number, out: Uint8Array, into: Uint8Array): Exchange => {
    if (!(partner >= 0 && partner < this.size) || partner === this.rank)
      throw new Error(`exchange: rank ${this.rank} has no partner ${partner} among ${this.size}`);
    const tag = this.begun[partner]!++ % TAGS;
    const pieces = Math.max(1, Math.ceil(Math.max(out.length, into.length) / PIECE));
    const underWay: number[] = [];
    let next = 0;
    const begin = (): void => {
      const piece = (all: Uint8Array) => all.subarray(next * PIECE, (next + 1) * PIECE);
      const [give, take] = [piece(out), piece(into)];
      underWay.push(
        this.answered(`to ${this.nameOf(partner)}`, () => this.mpi.begin(partner, tag, give, take)),
      );
      next++;
    };
    while (next < Math.min(2, pieces)) begin();
    return {
      wait: () => {
        while (underWay.length > 0) {
          this.finish(partner, underWay.shift()!);
          if (next < pieces) begin();
        }
      },
    };
  };

  readonly memory = (address: number, bytes: number): ArrayBuffer => this.mpi.memory(address, bytes);

  gather(own: Uint8Array): Uint8Array[] {
    return gather(this, own);
  }

  broadcast(own: Uint8Array): Uint8Array {
    return broadcast(this, own);
  }

  barrier(): void {
    barrier(this);
  }

  /** Waits until all leave, and ends MPI. */
  leave(): void {
    this.barrier();
    this.mpi.finalize();
  }

  abort(code: number): never {
    return this.mpi.abort(code);
  }

  private finish(partner: number, swap: number): void {
    const since = new Date().toTimeString().slice(0, 8);
    const over = this.answered(`with ${this.nameOf(partner)}`, () => this.mpi.wait(swap, this.timeout));
    if (!over)
      throw new RunError(
        `rank ${this.rank} has waited ${this.timeout} s (since ${since}) for ${this.nameOf(partner)}; is it alive? --rank-timeout gives it longer`,
      );
  }

  private nameOf(rank: number): string {
    const host = this.hosts[rank];
    return host === undefined ? `rank ${rank}` : `rank ${rank} (host ${host})`;
  }

  private answered<T>(what: string, call: () => T): T {
    try {
      return call();
    } catch (error) {
      const who = this.rank === undefined ? '' : `rank ${this.rank} `;
      throw new RunError(`${who}${what}: ${(error as Error).message}`);
    }
  }
}
