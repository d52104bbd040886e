import { UsageError } from '../errors.js';
import { type Pieces, Stopped } from '../pieces.js';
import { alone, type Cluster } from './cluster.js';
import { broadcastValue, gatherValues } from './values.js';

/**
 * How the rows of a run are shared out. A list of n rows is cut by position into S shards, of which every rank has S / R
 * neighbouring ones. What is computed together depends on the shard alone: so the numbers are those of S, whatever R is.
 *
 * All ranks go through the same calls in the same order. Each call but `together` is a meeting: a rank that was asked to stop
 * says so there (`leave`), and all stop.
 */
export class Shards {
  /** Those of this rank. */
  readonly own: readonly number[];

  /**
   * @param count S, a power of two
   * @throws UsageError when there are more ranks than shards
   */
  constructor(
    readonly count = 1,
    readonly cluster: Cluster = alone,
    field = 'train.shards',
  ) {
    const { rank, size } = cluster;
    if (size > count)
      throw new UsageError(
        `${field}: ${count} shard${count === 1 ? '' : 's'} for ${size} processes; at least one for each is needed (${field} ${size}, and the same number gives the same bytes on fewer processes)`,
      );
    const share = count / size;
    this.own = Array.from({ length: share }, (_, i) => rank * share + i);
  }

  /** Where a shard begins and ends in a list of so many rows. */
  range(shard: number, rows: number): [from: number, to: number] {
    return [Math.floor((shard * rows) / this.count), Math.floor(((shard + 1) * rows) / this.count)];
  }

  /** The rows of one shard. */
  part<T>(list: readonly T[], shard: number): T[] {
    return list.slice(...this.range(shard, list.length));
  }

  /**
   * Works on the rows of every own shard, and gives what all ranks made of theirs, shard after shard: as if `work` had been done
   * on one shard after the other here.
   *
   * @param work given the rows of a shard and the place of the first; may make any number of results, all of plain data and typed arrays
   */
  *map<A, B>(list: readonly A[], work: (rows: A[], first: number) => Pieces<B[]>): Pieces<B[]> {
    const made: B[][] = [];
    for (const shard of this.own)
      made.push(yield* work(this.part(list, shard), this.range(shard, list.length)[0]));
    this.meet();
    return this.together(made).flat();
  }

  /** What all ranks have of their shards, in the order of the shards. */
  together<T>(ofOwn: readonly T[]): T[] {
    return gatherValues(this.cluster, ofOwn).flatMap((values) => [...values]);
  }

  /** What every rank has, in the order of the ranks. */
  each<T>(value: T): T[] {
    return gatherValues(this.cluster, value);
  }

  /** What rank 0 knows; the others' value is not looked at. */
  first<T>(value: T): T {
    this.meet();
    return broadcastValue(this.cluster, value);
  }

  /** Whether it is so on any rank. */
  any(here: boolean): boolean {
    this.meet();
    return this.each(here).includes(true);
  }

  /** All ranks are here. @throws Stopped on all of them when one has left */
  meet(): void {
    this.#meet(false);
  }

  /** This rank gives up what it is at: at the meeting that the others come to next, all stop. Whoever calls it throws. */
  leave(): void {
    try {
      this.#meet(true);
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
  }

  #meet(leaving: boolean): void {
    if (this.each(leaving).includes(true)) throw new Stopped();
  }
}

/** Everything in one place, on one process. */
export const oneShard = new Shards();
