import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RunError, UsageError } from '../../errors.js';
import { SafetensorsFile, type TensorEntry } from '../../models/safetensors.js';
import { writeSafetensors } from '../../models/safetensorsWriter.js';
import type { Sequence } from '../../models/sequence.js';
import { fromF16 } from '../../tensor/halfFloats.js';
import type { CacheSetting, ShardEntry } from './cacheIndex.js';
import { KEY_BYTES, sequenceKey } from './key.js';
import type { TopTokens } from './topTokens.js';

/*
 * A shard holds R rows of N response tokens together:
 *
 *   keys      U8 [R, 16]       what each row is found by (key.ts)
 *   offsets   I32 [R + 1]      where the tokens of each begin
 *   ids       U16 or I32 [N, K]
 *   logprobs  F16 or F32 [N, K]
 *   gold      F32 [N]
 *   tail      F32 [N]          a probability, not its logarithm
 */

/** An id takes two bytes where the vocabulary allows. */
const narrow = (vocab: number): boolean => vocab <= 65536;

export async function writeShard(
  directory: string,
  file: string,
  rows: readonly { sequence: Sequence; top: TopTokens }[],
  { top_k: k, dtype, vocab }: Pick<CacheSetting, 'top_k' | 'dtype' | 'vocab'>,
): Promise<ShardEntry> {
  const offsets = new Int32Array(rows.length + 1);
  rows.forEach(({ sequence }, i) => {
    offsets[i + 1] = offsets[i]! + sequence.responseIds.length;
  });
  const tokens = offsets[rows.length]!;
  const keys = new Uint8Array(rows.length * KEY_BYTES);
  const ids = narrow(vocab) ? new Uint16Array(tokens * k) : new Int32Array(tokens * k);
  const logprobs = new Float32Array(tokens * k);
  const gold = new Float32Array(tokens);
  const tail = new Float32Array(tokens);
  rows.forEach(({ sequence, top }, i) => {
    const at = offsets[i]!;
    keys.set(sequenceKey(sequence), i * KEY_BYTES);
    ids.set(top.ids, at * k);
    // Beyond what f16 can hold a probability is 0 in every arithmetic.
    logprobs.set(
      top.logprobs.map((x) => Math.max(x, -65504)),
      at * k,
    );
    gold.set(top.gold, at);
    tail.set(top.tail, at);
  });
  const path = join(directory, file);
  await writeSafetensors(path, [
    { name: 'keys', shape: [rows.length, KEY_BYTES], data: keys },
    { name: 'offsets', shape: [rows.length + 1], data: offsets },
    { name: 'ids', shape: [tokens, k], data: ids },
    { name: 'logprobs', shape: [tokens, k], data: logprobs, dtype },
    { name: 'gold', shape: [tokens], data: gold },
    { name: 'tail', shape: [tokens], data: tail },
  ]);
  return { file, rows: rows.length, tokens, bytes: statSync(path).size, sha256: await sha256(path) };
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(part as Buffer);
  return hash.digest('hex');
}

/** @throws UsageError naming the file when it is not the one that the index tells of */
export async function checkShard(
  directory: string,
  { file, bytes, sha256: expected }: ShardEntry,
): Promise<void> {
  const path = join(directory, file);
  const mend = 'delete it, and minillm cache-teacher makes it again';
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw new UsageError(`${path}: no such file; minillm cache-teacher makes it again`);
  if (size !== bytes) throw new UsageError(`${path}: ${size} bytes, expected ${bytes}; ${mend}`);
  if ((await sha256(path)) !== expected)
    throw new UsageError(`${path}: is not what was written (its SHA-256 differs); ${mend}`);
}

/** A shard whose rows are read when they are asked for. */
export class CacheShard {
  private constructor(
    readonly path: string,
    private readonly setting: CacheSetting,
    private readonly entries: ReadonlyMap<string, TensorEntry>,
    private readonly fd: number,
    /** [R·16] */
    readonly keys: Buffer,
    private readonly offsets: Int32Array,
  ) {}

  /** @throws UsageError naming the file when it is not what the index says, or cannot be a shard of this setting */
  static async open(directory: string, entry: ShardEntry, setting: CacheSetting): Promise<CacheShard> {
    await checkShard(directory, entry);
    const path = join(directory, entry.file);
    const header = await SafetensorsFile.open(path);
    await header.close();
    const { rows, tokens } = entry;
    const { top_k: k, dtype, vocab } = setting;
    const expected: [string, string, number[]][] = [
      ['keys', 'U8', [rows, KEY_BYTES]],
      ['offsets', 'I32', [rows + 1]],
      ['ids', narrow(vocab) ? 'U16' : 'I32', [tokens, k]],
      ['logprobs', dtype.toUpperCase(), [tokens, k]],
      ['gold', 'F32', [tokens]],
      ['tail', 'F32', [tokens]],
    ];
    for (const [name, type, shape] of expected) {
      const found = header.entries.get(name);
      if (found?.dtype !== type || found.shape.join() !== shape.join())
        throw new UsageError(
          `${path}: tensor "${name}" is ${found ? `${found.dtype} [${found.shape.join(', ')}]` : 'missing'}, expected ${type} [${shape.join(', ')}]`,
        );
    }
    const fd = openSync(path, 'r');
    try {
      const bytes = (name: string): Buffer => {
        const { offset, bytes: size } = header.entries.get(name)!;
        return readAt(fd, offset, size, path);
      };
      const offsets = int32(bytes('offsets'));
      const rising = offsets.every((at, i) => at === 0 || (i > 0 && at > offsets[i - 1]!));
      if (offsets[0] !== 0 || offsets[rows] !== tokens || !rising)
        throw new UsageError(`${path}: offsets do not rise from 0 to ${tokens}`);
      return new CacheShard(path, setting, header.entries, fd, bytes('keys'), offsets);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get rows(): number {
    return this.offsets.length - 1;
  }

  /** Response tokens of a row. */
  tokens(row: number): number {
    return this.offsets[row + 1]! - this.offsets[row]!;
  }

  /** What is kept of a row. @throws UsageError for a value that cannot be */
  read(row: number): TopTokens {
    const { vocab, dtype } = this.setting;
    const ids = this.part('ids', row);
    const logprobs = this.part('logprobs', row);
    const top: TopTokens = {
      ids: narrow(vocab) ? Int32Array.from(uint16(ids)) : int32(ids),
      logprobs: dtype === 'f16' ? fromF16(uint16(logprobs)) : float32(logprobs),
      gold: float32(this.part('gold', row)),
      tail: float32(this.part('tail', row)),
    };
    this.check(top, row);
    return top;
  }

  close(): void {
    closeSync(this.fd);
  }

  private part(name: string, row: number): Buffer {
    const { offset, shape, bytes } = this.entries.get(name)!;
    const perToken = bytes / shape[0]!;
    return readAt(this.fd, offset + this.offsets[row]! * perToken, this.tokens(row) * perToken, this.path);
  }

  private check({ ids, logprobs, gold, tail }: TopTokens, row: number): void {
    const { vocab } = this.setting;
    for (const id of ids)
      if (!(id >= 0 && id < vocab)) throw this.damaged(row, `id ${id} of a vocabulary of ${vocab}`);
    for (const list of [logprobs, gold])
      for (const x of list)
        if (!(Number.isFinite(x) && x <= 1e-3)) throw this.damaged(row, `a log-probability of ${x}`);
    for (const x of tail) if (!(x >= 0 && x <= 1 + 1e-3)) throw this.damaged(row, `a tail of ${x}`);
  }

  damaged(row: number, what: string): UsageError {
    return new UsageError(`${this.path}: row ${row}: ${what}; the cache is damaged, make it anew`);
  }
}

function readAt(fd: number, offset: number, size: number, path: string): Buffer {
  // Of its own, so that typed arrays can look at it.
  const bytes = Buffer.from(new ArrayBuffer(size));
  for (let done = 0; done < size; ) {
    const read = readSync(fd, bytes, done, size - done, offset + done);
    if (read === 0) throw new RunError(`${path}: is shorter than it was when the run began`);
    done += read;
  }
  return bytes;
}

const int32 = (b: Buffer): Int32Array => new Int32Array(b.buffer, b.byteOffset, b.length / 4);
const uint16 = (b: Buffer): Uint16Array =>
  new Uint16Array(b.buffer as ArrayBuffer, b.byteOffset, b.length / 2);
const float32 = (b: Buffer): Float32Array => new Float32Array(b.buffer, b.byteOffset, b.length / 4);
