import { once } from 'node:events';
import { createReadStream, createWriteStream, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { TextDecoder } from 'node:util';
import { publish, syncFile } from '../durable.js';
import { UsageError } from '../errors.js';

/** One object of a JSONL file, with its place for messages (`file:line`). */
export interface JsonRow {
  where: string;
  value: Record<string, unknown>;
  /** The line, from 1; of an array or a table the row, from 0. */
  number: number;
  /** Of a JSONL file: where the row's bytes are. */
  span?: Span;
}

/** Bytes of a file. */
export interface Span {
  start: number;
  length: number;
}

/** A line longer than this is no row of ours but a file of another kind. */
export const maxLineBytes = 16 * 2 ** 20;

/** Rows as the text of a JSONL file. */
export function jsonlText(rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}

/**
 * Reads a JSONL file as a stream, row by row; blank lines are skipped, a byte-order mark and CRLF line ends are
 * accepted. Memory is bounded by the longest line, not by the file.
 *
 * @throws UsageError naming file and line for: a file that cannot be read, bytes that are not UTF-8, a line over
 *   16 MiB, a line that is not JSON (a truncated last line is called that), a value that is not an object
 */
export async function* readJsonl(file: string): AsyncGenerator<JsonRow> {
  let number = 0;
  for await (const { bytes, complete, start } of lines(file)) {
    number++;
    const where = `${file}:${number}`;
    const value = parseRow(bytes, where, complete);
    if (value !== undefined) yield { where, value, number, span: { start, length: bytes.length } };
  }
}

/** The lines of a file as bytes; `complete` is false for a last line without a line break. */
async function* lines(file: string): AsyncGenerator<{ bytes: Buffer; complete: boolean; start: number }> {
  let number = 1;
  let first = 0;
  let pending: Buffer[] = [];
  let size = 0;
  const hold = (piece: Buffer) => {
    size += piece.length;
    if (size > maxLineBytes)
      throw new UsageError(
        `${file}:${number}: the line is longer than ${maxLineBytes / 2 ** 20} MiB; expected JSONL, one object per line`,
      );
    pending.push(piece);
  };
  try {
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        hold(chunk.subarray(start, end));
        yield { bytes: Buffer.concat(pending), complete: true, start: first };
        first += size + 1;
        pending = [];
        size = 0;
        number++;
        start = end + 1;
      }
      hold(chunk.subarray(start));
    }
  } catch (error) {
    if (error instanceof UsageError || (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw cannotRead(file, error as NodeJS.ErrnoException);
  }
  if (size > 0) yield { bytes: Buffer.concat(pending), complete: false, start: first };
}

/** A line as an object; undefined for a blank one. @param complete whether a line break ends it @throws UsageError */
export function parseRow(bytes: Buffer, where: string, complete: boolean): JsonRow['value'] | undefined {
  const text = decodeUtf8(bytes, where).trim();
  if (text === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const hint = complete
      ? 'expected one JSON object per line'
      : 'the last line ends in the middle; is the file truncated?';
    throw new UsageError(`${where}: not JSON (${(error as Error).message}); ${hint}`);
  }
  return asObject(value, where);
}

/** A JSON value as an object. @throws UsageError saying what it is instead */
export function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  const found = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
  throw new UsageError(`${where}: expected a JSON object, found ${found}`);
}

/** Strict UTF-8; a byte-order mark in front is dropped. @throws UsageError */
export function decodeUtf8(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${where}: not valid UTF-8; save the file as UTF-8`);
  }
}

/** The error for a file that cannot be read, in words. */
export function cannotRead(file: string, error: NodeJS.ErrnoException): UsageError {
  const reason =
    error.code === 'ENOENT'
      ? 'no such file'
      : error.code === 'EISDIR'
        ? 'it is a directory'
        : error.code === 'EACCES'
          ? 'permission denied'
          : error.message;
  return new UsageError(`${file} cannot be read: ${reason}`);
}

/**
 * Writes rows as JSONL, one per line with a line break after the last. The file appears under its name only when
 * all rows are written, so a reader never sees half of it.
 */
export async function writeJsonl(
  file: string,
  rows: Iterable<unknown> | AsyncIterable<unknown>,
): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  const partial = `${file}.partial`;
  const out = createWriteStream(partial);
  const failed = once(out, 'error').then(([error]) => Promise.reject(error as Error));
  failed.catch(() => {});
  try {
    for await (const row of rows)
      if (!out.write(`${JSON.stringify(row)}\n`)) await Promise.race([once(out, 'drain'), failed]);
    out.end();
    await Promise.race([once(out, 'close'), failed]);
    syncFile(partial);
    publish(partial, file);
  } catch (error) {
    out.destroy();
    rmSync(partial, { force: true });
    throw error;
  }
}
