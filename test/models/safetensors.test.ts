import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { type NamedArray, SafetensorsFile } from '../../src/models/safetensors.js';
import { writeSafetensors } from '../../src/models/safetensorsWriter.js';

const directory = mkdtempSync(join(tmpdir(), 'minillm-safetensors-'));
afterAll(() => rmSync(directory, { recursive: true }));
const path = (name: string) => join(directory, name);

const array = (name: string, shape: number[], ...values: number[]): NamedArray => ({
  name,
  shape,
  data: Float32Array.from(values),
});

/** A file with a handmade header. */
function craft(header: unknown, dataBytes = 0, length?: bigint): string {
  const json = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  const file = path('crafted.safetensors');
  writeFileSync(file, Buffer.concat([prefix, json, Buffer.alloc(dataBytes, 1)]));
  return file;
}

function raw(content: string): string {
  writeFileSync(path('raw.safetensors'), content);
  return path('raw.safetensors');
}

async function openError(file: string): Promise<string> {
  const error = await SafetensorsFile.open(file).then(
    async (opened) => {
      await opened.close();
      return undefined;
    },
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(UsageError);
  const { message } = error as UsageError;
  expect(message).not.toContain('\n');
  expect(message.startsWith(file)).toBe(true);
  return message.slice(file.length);
}

async function readAll(file: string): Promise<NamedArray[]> {
  const opened = await SafetensorsFile.open(file);
  try {
    const all: NamedArray[] = [];
    for (const name of opened.entries.keys()) all.push(await opened.read(name));
    return all;
  } finally {
    await opened.close();
  }
}

const f32 = (shape: number[], begin: number, end: number) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

describe('safetensors files that must not be trusted', () => {
  const a = f32([2], 0, 8);
  const cases: [string, () => string, string][] = [
    ['no such file', () => path('absent.safetensors'), 'no such file'],
    ['a directory', () => directory, 'not a regular file'],
    ['shorter than its length field', () => raw('abc'), 'truncated safetensors file (3 bytes)'],
    ['a header over 100 MB', () => craft({}, 0, 100_000_001n), 'header of 100000001 bytes'],
    ['a header of 2^63 bytes', () => craft({}, 0, 1n << 63n), 'header of 9223372036854775808 bytes'],
    ['a header longer than the file', () => craft({}, 0, 50n), 'truncated, the header needs 50 bytes'],
    ['an empty header', () => craft(''), 'does not begin with {'],
    ['a header that is no JSON', () => craft('{"a":'), 'bad safetensors header'],
    ['a header that is a list', () => craft('[]'), 'does not begin with {'],
    ['a header that is not UTF-8', () => craft(Buffer.from([0x7b, 0xff, 0x7d])), 'bad safetensors header'],
    [
      'a repeated name',
      () => craft(`{"a":${JSON.stringify(a)},"a":${JSON.stringify(a)}}`, 8),
      'the name "a" occurs twice',
    ],
    [
      'a repeated name in other letters',
      () => craft(`{"a":${JSON.stringify(a)},"\\u0061":${JSON.stringify(a)}}`, 8),
      'the name "a" occurs twice',
    ],
    [
      'a repeated field',
      () => craft('{"a":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,8]}}', 8),
      '"shape" occurs twice',
    ],
    ['an entry that is no object', () => craft({ a: 3 }), 'tensor "a" has no dtype'],
    ['an entry that is null', () => craft({ a: null }), 'tensor "a" has no dtype'],
    [
      'an unknown dtype',
      () => craft({ a: { ...a, dtype: 'F12' } }, 8),
      'tensor "a" has the unknown dtype "F12"',
    ],
    [
      'a dtype from the prototype',
      () => craft({ a: { ...a, dtype: 'constructor' } }, 8),
      'unknown dtype "constructor"',
    ],
    ['no shape', () => craft({ a: { ...a, shape: undefined } }, 8), 'tensor "a" has a bad shape'],
    ['a negative size', () => craft({ a: { ...a, shape: [-2] } }, 8), 'tensor "a" has a bad shape'],
    ['a fractional size', () => craft({ a: { ...a, shape: [0.5, 4] } }, 8), 'tensor "a" has a bad shape'],
    [
      'an infinite size',
      () => craft('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}', 8),
      'tensor "a" has a bad shape',
    ],
    [
      'a shape whose product overflows',
      () => craft({ a: { ...a, shape: [2 ** 52, 2 ** 52] } }, 8),
      'its data_offsets span 8',
    ],
    [
      'a shape that needs other bytes',
      () => craft({ a: { ...a, shape: [3] } }, 8),
      'tensor "a" of shape [3] and dtype F32 needs 12 bytes, its data_offsets span 8',
    ],
    ['offsets that are no pair', () => craft({ a: { ...a, data_offsets: [0] } }, 8), 'bad data_offsets'],
    [
      'offsets the wrong way round',
      () => craft({ a: { ...a, data_offsets: [8, 0] } }, 8),
      'bad data_offsets',
    ],
    ['offsets beyond the file', () => craft({ a: f32([4], 0, 16) }, 8), 'tensor "a" ends at byte'],
    ['overlapping tensors', () => craft({ a, b: f32([2], 4, 12) }, 12), 'tensor "b" overlaps'],
    ['two tensors on the same bytes', () => craft({ a, b: a }, 8), 'tensor "b" overlaps'],
    [
      'a hole between tensors',
      () => craft({ a, b: f32([1], 12, 16) }, 16),
      'tensor "b" leaves a hole of 4 bytes',
    ],
    ['bytes after the last tensor', () => craft({ a }, 11), '3 bytes after the last tensor'],
  ];
  it.each(cases)('%s', async (_, file, message) => {
    expect(await openError(file())).toContain(message);
  });

  it('every truncation of a good file is refused', async () => {
    const file = path('good.safetensors');
    await writeSafetensors(file, [array('a', [2], 1, 2), array('b', [1], 3)]);
    const bytes = readFileSync(file);
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(path('cut.safetensors'), bytes.subarray(0, length));
      await openError(path('cut.safetensors'));
    }
  });

  it('a file cut after it was opened ends early, with the place', async () => {
    const file = path('shrunk.safetensors');
    await writeSafetensors(file, [array('a', [2], 1, 2)]);
    const opened = await SafetensorsFile.open(file);
    const size = readFileSync(file).length;
    writeFileSync(file, readFileSync(file).subarray(0, size - 3));
    await expect(opened.read('a')).rejects.toThrow(`${file}: ended early, at byte ${size - 3}`);
    await opened.close();
  });

  it('names like __proto__ and empty tensors are ordinary', async () => {
    const file = craft(
      `{"__proto__":${JSON.stringify(f32([1], 0, 4))},"empty":${JSON.stringify(f32([0, 5], 4, 4))}}`,
      4,
    );
    const tensors = await readAll(file);
    expect(tensors.map(({ name, shape }) => [name, shape])).toEqual([
      ['__proto__', [1]],
      ['empty', [0, 5]],
    ]);
  });

  it('other dtypes are listed, and refused only when read', async () => {
    const opened = await SafetensorsFile.open(
      craft({ i: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }, 8),
    );
    expect(opened.entries.get('i')).toMatchObject({ dtype: 'I64', shape: [1], bytes: 8 });
    await expect(opened.read('i')).rejects.toThrow('tensor "i" is I64, expected F32, F16 or BF16');
    await expect(opened.read('j')).rejects.toThrow('no tensor "j"');
    await opened.close();
  });
});

describe('writing safetensors', () => {
  const tensors = [
    array('b.weight', [2, 2], 1, -2, 0.5, 1e-3),
    array('B', [1], 3),
    array('10', [], 7),
    array('9', [0]),
  ];

  it('comes back with the same bits, sorted by code unit', async () => {
    await writeSafetensors(path('w'), tensors);
    const back = await readAll(path('w'));
    expect(back.map(({ name, shape, data }) => [name, shape, [...data]])).toEqual([
      // integer-like names first: the order in which JavaScript lists the keys of an object
      ['9', [0], []],
      ['10', [], [7]],
      ['B', [1], [3]],
      ['b.weight', [2, 2], [1, -2, 0.5, Math.fround(1e-3)]],
    ]);
  });

  it('literal bytes: length, aligned header, values', async () => {
    await writeSafetensors(path('w'), [array('x', [1], 1)], 'f16');
    const bytes = readFileSync(path('w'));
    const header = '{"__metadata__":{"format":"pt"},"x":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}   ';
    expect(header.length % 8).toBe(0);
    expect(bytes.readBigUInt64LE()).toBe(BigInt(header.length));
    expect(bytes.subarray(8, 8 + header.length).toString()).toBe(header);
    expect([...bytes.subarray(8 + header.length)]).toEqual([0x00, 0x3c]);
  });

  it('the bytes do not depend on the order given', async () => {
    await writeSafetensors(path('w1'), tensors);
    await writeSafetensors(path('w2'), [...tensors].reverse());
    expect(readFileSync(path('w1')).equals(readFileSync(path('w2')))).toBe(true);
  });

  it('halves are rounded, wherever the array begins in its buffer', async () => {
    const data = Float32Array.of(99, 1 / 3, 2049).subarray(1);
    for (const [dtype, third, big] of [
      ['f16', 0.333251953125, 2048],
      ['bf16', 0.333984375, 2048],
    ] as const) {
      await writeSafetensors(path('w'), [{ name: 'x', shape: [2], data }], dtype);
      expect([...(await readAll(path('w')))[0]!.data]).toEqual([third, big]);
    }
  });

  it('refuses what it cannot hold, and leaves the old file and no temporary one', async () => {
    const file = path('kept');
    await writeSafetensors(file, [array('x', [1], 1)]);
    const before = readFileSync(file);
    await expect(writeSafetensors(file, [array('x', [1], 70000)], 'f16')).rejects.toThrow(
      'tensor "x" holds 70000, beyond the range of f16',
    );
    await expect(writeSafetensors(file, [array('x', [2], 1)])).rejects.toThrow(
      'tensor "x" of shape [2] has 1 values',
    );
    await expect(writeSafetensors(file, [array('x', [1], 1), array('x', [1], 2)])).rejects.toThrow(
      'tensor "x" given twice',
    );
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    await expect(writeSafetensors(path('no/such/place'), tensors)).rejects.toThrow('ENOENT');
  });
});
