import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * TensorBoard event files, written without TensorFlow so that every backend has them.
 *
 * The file is a sequence of TFRecords (u64 length, masked CRC-32C of it, bytes, masked CRC-32C of them; all
 * little-endian), each a protobuf `Event`: 1 wall_time (double), 2 step (int64), 3 file_version (string),
 * 5 summary { 1 value { 1 tag, 2 simple_value (float) } }, 7 session_log { 1 status }.
 * Format: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto, framework/summary.proto.
 */
export interface TensorBoardWriter {
  /** One event with one scalar for every number in `values`; other values (names, nulls) are left out. */
  scalars(step: number, values: Readonly<Record<string, unknown>>): void;
  close(): void;
}

/** CRC-32C (Castagnoli), the reflected polynomial 0x82f63b78. */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255]!;
  return ~crc >>> 0;
}

/** TFRecord's mask: a checksum stored beside data that itself holds checksums would be weak unrotated. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One TFRecord around a payload. */
export function tfRecord(payload: Uint8Array): Buffer {
  const record = Buffer.alloc(payload.length + 16);
  record.writeBigUInt64LE(BigInt(payload.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(payload, 12);
  record.writeUInt32LE(maskedCrc32c(payload), payload.length + 12);
  return record;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

const key = (field: number, wireType: number): Buffer => varint(field * 8 + wireType);

function int(field: number, value: number): Buffer {
  return Buffer.concat([key(field, 0), varint(value)]);
}

function double(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([key(field, 1), bytes]);
}

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([key(field, 5), bytes]);
}

function bytes(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([key(field, 2), varint(value.length), value]);
}

/** The protobuf `Event` of a set of scalars. Proto3 leaves out a field that is zero, as TensorBoard's own writer does. */
export function scalarEvent(
  wallTime: number,
  step: number,
  values: Readonly<Record<string, unknown>>,
): Buffer {
  const scalars = Object.entries(values).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number',
  );
  const summary = scalars.map(([tag, value]) =>
    bytes(1, Buffer.concat([bytes(1, Buffer.from(tag)), float(2, value)])),
  );
  return Buffer.concat([
    double(1, wallTime),
    ...(step > 0 ? [int(2, step)] : []),
    bytes(5, Buffer.concat(summary)),
  ]);
}

const sessionStart = 1;

/**
 * Opens a new event file in `directory`; each start of a run has its own.
 *
 * @param options.resumeAtStep the file then begins with a session start at the step after it, which makes TensorBoard
 *   forget the steps that earlier files hold from there on: they belong to the interrupted try.
 * @param options.now seconds since 1970, for tests.
 */
export function openTensorBoard(
  directory: string,
  options: { resumeAtStep?: number; now?: () => number } = {},
): TensorBoardWriter {
  const { resumeAtStep, now = () => Date.now() / 1000 } = options;
  mkdirSync(directory, { recursive: true });
  const earlier = readdirSync(directory).filter((name) => name.includes('tfevents')).length;
  // TensorBoard reads the files of a directory in the order of their names: seconds first, then a counter.
  const seconds = String(Math.floor(now())).padStart(10, '0');
  const name = `events.out.tfevents.${seconds}.minillm.${String(earlier).padStart(4, '0')}`;
  const fd = openSync(path.join(directory, name), 'wx');
  const write = (event: Buffer): void => writeFileSync(fd, tfRecord(event));
  write(Buffer.concat([double(1, now()), bytes(3, Buffer.from('brain.Event:2'))]));
  if (resumeAtStep !== undefined) {
    write(Buffer.concat([double(1, now()), int(2, resumeAtStep + 1), bytes(7, int(1, sessionStart))]));
  }
  return {
    scalars: (step, values) => write(scalarEvent(now(), step, values)),
    close: () => closeSync(fd),
  };
}
