import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RunError, refusedByDisk, UsageError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import {
  type Example,
  type ExampleLimits,
  type Examples,
  exampleOf,
  type LoadedExamples,
  loadExamples,
  readExamples,
} from './examples.js';
import { rowItems } from './fields.js';
import { cannotRead, parseRow, type Span } from './jsonl.js';
import { rowsKind } from './rows.js';

/** Files up to this size are kept in memory as examples, some ten times their size; Parquet is compressed. */
export const memoryBytes = { jsonl: 64 * 2 ** 20, parquet: 16 * 2 ** 20 };

/**
 * `loadExamples` for data of any size: the same examples in the same order. Of a large file only an index is in memory, 18 bytes an
 * example: one pass checks and tokenises every row, as for a small one, and notes where those within the limits are; each is then read
 * and tokenised again when it is asked for. Parquet, which cannot be read row by row, is first written out as JSONL into a temporary
 * file that goes with the process. A JSON array is always in memory.
 *
 * @param limit bytes up to which a file is in memory, for tests
 * @throws UsageError as `loadExamples`
 */
export async function openExamples(
  file: string,
  tokenizer: Tokenizer,
  limits: ExampleLimits,
  limit: { jsonl: number; parquet: number } = memoryBytes,
): Promise<LoadedExamples<Examples>> {
  const kind = await rowsKind(file);
  const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (kind === 'array' || bytes <= limit[kind]) return loadExamples(file, tokenizer, limits);
  const store = kind === 'parquet' ? new Spool(file) : openFile(file);
  const index = new Index();
  try {
    let last: object | undefined;
    let span: Span = { start: 0, length: 0 };
    const counted = await readExamples(file, tokenizer, limits, (_, row, item) => {
      if (row !== last) span = row.span ?? (store as Spool).add(row.value);
      last = row;
      index.add(span, row.number, item);
    });
    index.trim();
    return { examples: new StoredExamples(file, kind, store.fd, index, tokenizer, limits), ...counted };
  } catch (error) {
    closeSync(store.fd);
    throw error;
  }
}

/** Examples that are read and tokenised when they are asked for. */
class StoredExamples implements Examples {
  readonly length: number;

  constructor(
    private readonly file: string,
    private readonly kind: 'jsonl' | 'parquet',
    private readonly fd: number,
    private readonly index: Index,
    private readonly tokenizer: Tokenizer,
    private readonly limits: ExampleLimits,
  ) {
    this.length = index.length;
  }

  /** @throws RunError where the file is not what it was */
  at(place: number): Example | undefined {
    if (!(place >= 0 && place < this.length)) return undefined;
    const { start, length, number, item } = this.index.at(place);
    const where = this.kind === 'jsonl' ? `${this.file}:${number}` : `${this.file}[${number}]`;
    try {
      const bytes = Buffer.allocUnsafe(length);
      if (readSync(this.fd, bytes, 0, length, start) < length) throw new UsageError('the file is shorter');
      const value = parseRow(bytes, where, true)!;
      const found = rowItems(value, where, this.limits.turns)[item]!;
      const { example } = exampleOf(found, { where, value }, this.tokenizer, this.limits);
      if (example) return example;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall)
        throw cannotRead(this.file, error as NodeJS.ErrnoException);
    }
    throw new RunError(
      `${where}: is not what it was when the run began; put the old file back, and --resume goes on`,
    );
  }

  close(): void {
    closeSync(this.fd);
  }
}

function openFile(file: string): { fd: number } {
  try {
    return { fd: openSync(file, 'r') };
  } catch (error) {
    throw cannotRead(file, error as NodeJS.ErrnoException);
  }
}

/** A temporary JSONL file that has no name any more where the system allows that: it goes with whoever has it open. */
class Spool {
  readonly fd: number;
  private end = 0;
  private readonly directory = mkdtempSync(join(tmpdir(), 'minillm-rows-'));

  constructor(private readonly file: string) {
    this.fd = openSync(join(this.directory, 'rows.jsonl'), 'w+');
    const remove = (): void => rmSync(this.directory, { recursive: true, force: true });
    try {
      remove();
    } catch {
      process.once('exit', remove);
    }
  }

  add(row: object): Span {
    const bytes = Buffer.from(`${JSON.stringify(row)}\n`);
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done);
    } catch (error) {
      const why = refusedByDisk(error, this.directory) ?? (error as Error).message;
      throw new UsageError(`${this.file}: is written out as JSONL to be read by row, and ${why}; set TMPDIR`);
    }
    const start = this.end;
    this.end += bytes.length;
    return { start, length: bytes.length - 1 };
  }
}

/** Where the rows of examples begin, how long they are, which rows they are, and which item of its row each is. */
class Index {
  length = 0;
  private starts = new Float64Array(1024);
  private lengths = new Uint32Array(1024);
  private numbers = new Uint32Array(1024);
  private items = new Uint16Array(1024);

  add({ start, length }: Span, number: number, item: number): void {
    if (this.length === this.starts.length) this.resize(2 * this.length);
    if (item > 0xffff) throw new UsageError(`a row has more than ${0x10000} examples; cut it into several`);
    this.starts[this.length] = start;
    this.lengths[this.length] = length;
    this.numbers[this.length] = number;
    this.items[this.length++] = item;
  }

  at(place: number): Span & { number: number; item: number } {
    const span = { start: this.starts[place]!, length: this.lengths[place]! };
    return { ...span, number: this.numbers[place]!, item: this.items[place]! };
  }

  trim(): void {
    this.resize(this.length);
  }

  private resize(size: number): void {
    const kept = Math.min(size, this.length);
    const sized = <A extends Float64Array | Uint32Array | Uint16Array>(next: A, old: A): A => {
      next.set(old.subarray(0, kept));
      return next;
    };
    this.starts = sized(new Float64Array(size), this.starts);
    this.lengths = sized(new Uint32Array(size), this.lengths);
    this.numbers = sized(new Uint32Array(size), this.numbers);
    this.items = sized(new Uint16Array(size), this.items);
  }
}
