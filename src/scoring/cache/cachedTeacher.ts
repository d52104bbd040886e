import { RunError, UsageError } from '../../errors.js';
import type { RemoteModel } from '../../models/model.js';
import type { Sequence } from '../../models/sequence.js';
import { type CacheIndex, readIndex, rowsOf, shardsOf } from './cacheIndex.js';
import { KEY_BYTES, sequenceKey } from './key.js';
import { CacheShard } from './shard.js';
import type { TopTokens } from './topTokens.js';

/** How far the probabilities of a position may be from 1 together: 16 bits move them by less (docs/teacher-cache.md). */
const ROUNDING = 0.02;

/**
 * A teacher that was asked once: what it said of known sequences, from the files of `minillm cache-teacher`. Its K most likely
 * tokens and the gold one have their probabilities, rounded to 16 bits and then scaled so that they and the tail's mass, which
 * is kept in 32, are 1 together; all other tokens are one bucket.
 */
export class CachedTeacher implements RemoteModel {
  readonly gives = 'top_k';
  readonly cache: NonNullable<RemoteModel['cache']>;
  private readonly places = new Map<string, number>();
  /** Which tokens of a position have been seen; all 0 between two. */
  private readonly named: Uint8Array;

  private constructor(
    readonly directory: string,
    readonly index: CacheIndex,
    private readonly shards: readonly CacheShard[],
  ) {
    this.named = new Uint8Array(index.vocab);
    this.cache = {
      temperature: index.temperature,
      tails: (sequences) => sequences.map((s) => this.read(this.placeOf(s), s).tail),
      close: () => this.close(),
    };
    shards.forEach(({ keys, rows }, shard) => {
      for (let row = 0; row < rows; row++) {
        const key = keys.toString('latin1', row * KEY_BYTES, (row + 1) * KEY_BYTES);
        if (!this.places.has(key)) this.places.set(key, shard * index.shard_rows + row);
      }
    });
  }

  /** @throws UsageError in one line naming the file that is missing, unfinished, truncated or damaged */
  static async open(directory: string): Promise<CachedTeacher> {
    const index = await readIndex(directory);
    const [made, all] = [index.shards.length, shardsOf(index)];
    if (made < all)
      throw new UsageError(
        `${directory}: is not finished (${made} of ${all} shards); call minillm cache-teacher again as before, and it goes on`,
      );
    const shards: CacheShard[] = [];
    try {
      for (const entry of index.shards) shards.push(await CacheShard.open(directory, entry, index));
      return new CachedTeacher(directory, index, shards);
    } catch (error) {
      for (const shard of shards) shard.close();
      throw error;
    }
  }

  get rows(): number {
    return rowsOf(this.index);
  }

  /** Key of a row by its place in the cache. */
  keyAt(place: number): Buffer {
    const { shard, row } = this.locate(place);
    return shard.keys.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES);
  }

  /** What is kept of the sequence at a place. @throws UsageError where the values are no distribution */
  read(place: number, { responseIds }: Sequence): TopTokens {
    const { shard, row } = this.locate(place);
    if (shard.tokens(row) !== responseIds.length)
      throw shard.damaged(row, `${shard.tokens(row)} tokens of ${responseIds.length}`);
    const top = shard.read(row);
    const { named } = this;
    const k = this.index.top_k;
    for (let t = 0; t < responseIds.length; t++) {
      let mass = 0;
      for (let n = t * k; n < (t + 1) * k; n++) {
        const id = top.ids[n]!;
        if (named[id] === 1) throw shard.damaged(row, `token ${id} twice`);
        named[id] = 1;
        mass += Math.exp(top.logprobs[n]!);
      }
      if (named[responseIds[t]!] === 0) mass += Math.exp(top.gold[t]!);
      const whole = mass + top.tail[t]!;
      if (!(Math.abs(whole - 1) < ROUNDING)) throw shard.damaged(row, `probabilities of ${whole.toFixed(4)}`);
      const shift = Math.log((1 - top.tail[t]!) / mass);
      for (let n = t * k; n < (t + 1) * k; n++) {
        top.logprobs[n]! += shift;
        named[top.ids[n]!] = 0;
      }
      top.gold[t]! += shift;
    }
    return top;
  }

  /** ln p of the response tokens, at the cache's temperature. */
  logprobs(sequences: readonly Sequence[]): Float32Array[] {
    return sequences.map((s) => this.read(this.placeOf(s), s).gold);
  }

  /** ln p at every response token, [T·V]; −∞ for the tokens of the tail. */
  distributions(sequences: readonly Sequence[]): Float32Array[] {
    const { top_k: k, vocab } = this.index;
    return sequences.map((s) => {
      const { ids, logprobs, gold } = this.read(this.placeOf(s), s);
      const values = new Float32Array(gold.length * vocab).fill(Number.NEGATIVE_INFINITY);
      gold.forEach((x, t) => {
        values[t * vocab + s.responseIds[t]!] = x;
        for (let n = t * k; n < (t + 1) * k; n++) values[t * vocab + ids[n]!] = logprobs[n]!;
      });
      return values;
    });
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }

  private locate(place: number): { shard: CacheShard; row: number } {
    const size = this.index.shard_rows;
    return { shard: this.shards[Math.floor(place / size)]!, row: place % size };
  }

  private placeOf(sequence: Sequence): number {
    const place = this.places.get(sequenceKey(sequence).toString('latin1'));
    if (place === undefined)
      throw new RunError(`${this.directory}: a sequence that is not in the cache; were the data changed?`);
    return place;
  }
}
