import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { crc32c, maskedCrc32c, openTensorBoard, scalarEvent, tfRecord } from '../../src/runs/tensorboard.js';
import { python, pythonAbsent } from '../helpers/python.js';

/** A reader of its own: records by length, protobuf fields by wire type, checksums bit by bit. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const carry = (crc ^ (BigInt(byte) >> BigInt(bit))) & 1n;
      crc = (crc >> 1n) ^ (carry ? 0x82f63b78n : 0n);
    }
  }
  return Number(crc ^ 0xffffffffn);
}

function unmask(masked: number): number {
  const rotated = (BigInt(masked) - 0xa282ead8n) & 0xffffffffn;
  return Number(((rotated << 15n) | (rotated >> 17n)) & 0xffffffffn);
}

type Fields = Record<number, (number | Buffer)[]>;
function parseProto(message: Buffer): Fields {
  const fields: Fields = {};
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++]!;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  const take = (bytes: number): Buffer => {
    at += bytes;
    return message.subarray(at - bytes, at);
  };
  while (at < message.length) {
    const key = varint();
    const type = key & 7;
    const value =
      type === 0
        ? varint()
        : type === 1
          ? take(8).readDoubleLE()
          : type === 5
            ? take(4).readFloatLE()
            : take(varint());
    fields[key >> 3] = [...(fields[key >> 3] ?? []), value];
  }
  return fields;
}

function readEvents(file: Buffer): Fields[] {
  const events: Fields[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    expect(unmask(file.readUInt32LE(at + 8))).toBe(slowCrc32c(file.subarray(at, at + 8)));
    const payload = file.subarray(at + 12, at + 12 + length);
    expect(unmask(file.readUInt32LE(at + 12 + length))).toBe(slowCrc32c(payload));
    events.push(parseProto(payload));
    at += length + 16;
  }
  return events;
}

function scalarsOf(event: Fields): Record<string, number> {
  const values = parseProto(event[5]![0] as Buffer)[1] ?? [];
  return Object.fromEntries(
    values.map((value) => {
      const fields = parseProto(value as Buffer);
      return [String(fields[1]![0]), fields[2]![0] as number];
    }),
  );
}

describe('crc32c', () => {
  it('has the values of RFC 3720, appendix B.4', () => {
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e);
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)))).toBe(0x113fdb5c);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(0))).toBe(0);
  });

  it('is masked by a rotation and an offset', () => {
    // 0xe3069283 rotated right by 15 is 0x2507c60d; plus 0xa282ead8 is 0xc78ab0e5.
    expect(maskedCrc32c(Buffer.from('123456789'))).toBe(0xc78ab0e5);
  });
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'tensorboard-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('openTensorBoard', () => {
  it('writes, byte for byte, what TensorBoard 2.21 itself writes for the same events', () => {
    const times = [1700000000, 1700000000.25, 1700000001.5];
    const writer = openTensorBoard(directory, { now: () => times.shift()! });
    writer.scalars(300, { 'train/loss': 0.1, ünï: 0, name: 'not a number', missing: null });
    writer.close();
    const [name] = readdirSync(directory);
    expect(name).toBe('events.out.tfevents.1700000000.minillm.0000');
    expect(readFileSync(path.join(directory, name!)).toString('hex')).toBe(
      '1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9' +
        '2f000000000000006d5d1d500900006040fc54d94110ac022a210a110a0a747261696e2f6c6f737315cdcccc3d0a0c0a05c3bc6ec3af150000000072639090',
    );
  });

  it('starts a resumed session in a file of its own, read after the first, that takes back the later steps', () => {
    const now = (): number => 1700000002;
    const first = openTensorBoard(directory, { now });
    for (let step = 1; step <= 5; step++) first.scalars(step, { loss: step });
    first.close();
    const second = openTensorBoard(directory, { now, resumeAtStep: 3 });
    second.scalars(4, { loss: 40 });
    second.close();
    const names = readdirSync(directory).sort();
    expect(names).toHaveLength(2);
    const events = names.flatMap((name) => readEvents(readFileSync(path.join(directory, name))));
    const session = events.find((event) => event[7]);
    expect(session).toMatchObject({ 1: [1700000002], 2: [4] });
    expect(parseProto(session![7]![0] as Buffer)).toEqual({ 1: [1] });
    const scalars = events.filter((event) => event[5]).map((event) => [event[2]?.[0], scalarsOf(event).loss]);
    expect(scalars).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 4],
      [5, 5],
      [4, 40],
    ]);
  });

  it('gives back what was written, large steps and extreme values included', () => {
    const writer = openTensorBoard(directory);
    const values = { big: 3e38, small: -1e-30, zero: 0, nan: Number.NaN, inf: Number.POSITIVE_INFINITY };
    writer.scalars(0, values);
    writer.scalars(3_000_000_000, values);
    writer.scalars(7, { ['tag '.repeat(60)]: 1 });
    writer.close();
    const events = readEvents(readFileSync(path.join(directory, readdirSync(directory)[0]!)));
    expect(String(events[0]![3]![0])).toBe('brain.Event:2');
    expect(events[1]![2]).toBeUndefined(); // proto3 leaves out step 0
    expect(events[2]![2]).toEqual([3_000_000_000]);
    const rounded = Object.fromEntries(Object.entries(values).map(([tag, x]) => [tag, Math.fround(x)]));
    expect(scalarsOf(events[2]!)).toEqual(rounded);
    expect(scalarsOf(events[3]!)).toEqual({ ['tag '.repeat(60)]: 1 });
    expect(events[1]![1]![0]).toBeGreaterThan(1.6e9);
  });
});

const reader = path.join(import.meta.dirname, '../fixtures/tensorboard/read_events.py');
describe.skipIf(pythonAbsent !== undefined)(
  `a reader in another language, by the public format (skipped without Python: ${pythonAbsent ?? 'there is one'})`,
  () => {
    it('finds every event, with all checksums right', () => {
      const times = [1700000000.5, 1700000001, 1700000002.25];
      const writer = openTensorBoard(directory, { resumeAtStep: 6, now: () => times.shift() ?? 1700000003 });
      writer.scalars(7, { 'train/loss': 0.1, ünï: 0, 'valid/length': -12.5 });
      writer.scalars(3_000_000_000, { big: 3e38 });
      writer.close();
      const file = path.join(directory, readdirSync(directory)[0]!);
      const events = python(reader, file)
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(events).toEqual([
        { wall_time: 1700000001, file_version: 'brain.Event:2' },
        { wall_time: 1700000002.25, step: 7, session: { 1: 1 } },
        {
          wall_time: 1700000003,
          step: 7,
          scalars: { 'train/loss': Math.fround(0.1), ünï: 0, 'valid/length': -12.5 },
        },
        { wall_time: 1700000003, step: 3_000_000_000, scalars: { big: Math.fround(3e38) } },
      ]);
    });

    it('refuses a file with a flipped bit', () => {
      const writer = openTensorBoard(directory);
      writer.scalars(1, { loss: 1 });
      writer.close();
      const file = path.join(directory, readdirSync(directory)[0]!);
      const bytes = readFileSync(file);
      bytes[bytes.length - 6]! ^= 1;
      writeFileSync(file, bytes);
      expect(() => python(reader, file)).toThrow('checksum at byte');
    });
  },
);

describe('tfRecord', () => {
  it('frames a payload with its length and two checksums', () => {
    const payload = scalarEvent(1, 2, { a: 3 });
    const record = tfRecord(payload);
    expect(record.length).toBe(payload.length + 16);
    expect(readEvents(record)).toEqual([parseProto(payload)]);
  });
});
