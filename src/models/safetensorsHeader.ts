import { UsageError } from '../errors.js';

/** Where a tensor lies in its file. `offset` counts from the beginning of the file. */
export interface TensorEntry {
  dtype: string;
  shape: number[];
  offset: number;
  bytes: number;
}

/** The limit of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Bytes of one element. Sub-byte types exist in the format and are not known here. */
const dtypeBytes: Readonly<Record<string, number>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, F8_E8M0: 1 },
  ...{ U16: 2, I16: 2, F16: 2, BF16: 2 },
  ...{ U32: 4, I32: 4, F32: 4 },
  ...{ U64: 8, I64: 8, F64: 8, C64: 8 },
};

/**
 * Checks the JSON header of a safetensors file: names once each, dtypes known, shapes whole numbers whose product
 * times the dtype's size is the length of the data, and the data of all tensors together covering the rest of the
 * file exactly once, without overlap or hole.
 *
 * @param header the header's bytes @param start where the data begin @param end the size of the file
 * @throws UsageError in one line, naming the file and the tensor
 */
export function parseHeader(
  header: Uint8Array,
  start: number,
  end: number,
  file: string,
): Map<string, TensorEntry> {
  let parsed: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(header);
    if (!text.startsWith('{')) throw new Error('does not begin with {');
    parsed = JSON.parse(text);
    refuseRepeatedKeys(text);
  } catch (error) {
    throw new UsageError(
      `${file}: bad safetensors header (${(error as Error).message.split('\n')[0]!.slice(0, 160)})`,
    );
  }
  const entries = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(parsed as Record<string, unknown>)) {
    if (name !== '__metadata__')
      entries.set(name, parseEntry(value, start, `${file}: tensor ${quote(name)}`));
  }
  checkCover(entries, start, end, file);
  return entries;
}

function parseEntry(value: unknown, start: number, where: string): TensorEntry {
  const { dtype, shape, data_offsets: range } = (value ?? {}) as Record<string, unknown>;
  if (typeof dtype !== 'string') throw new UsageError(`${where} has no dtype`);
  const width = Object.hasOwn(dtypeBytes, dtype) ? dtypeBytes[dtype] : undefined;
  if (width === undefined) throw new UsageError(`${where} has the unknown dtype ${quote(dtype)}`);
  if (!isSizes(shape)) throw new UsageError(`${where} has a bad shape, expected a list of whole numbers`);
  if (!isSizes(range) || range.length !== 2 || range[0]! > range[1]!) {
    throw new UsageError(`${where} has bad data_offsets, expected [begin, end]`);
  }
  const bytes = range[1]! - range[0]!;
  const needed = shape.reduce((product, size) => product * size, width);
  if (needed !== bytes) {
    throw new UsageError(
      `${where} of shape [${shape.join(', ')}] and dtype ${dtype} needs ${needed} bytes, its data_offsets span ${bytes}`,
    );
  }
  return { dtype, shape, offset: start + range[0]!, bytes };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 64 && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function checkCover(
  entries: ReadonlyMap<string, TensorEntry>,
  start: number,
  end: number,
  file: string,
): void {
  // An empty tensor sorts before the one that begins at the same byte.
  const inOrder = [...entries].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  let at = start;
  for (const [name, entry] of inOrder) {
    const where = `${file}: tensor ${quote(name)}`;
    if (entry.offset + entry.bytes > end) {
      throw new UsageError(
        `${where} ends at byte ${entry.offset + entry.bytes} and the file has ${end}; is the file truncated?`,
      );
    }
    if (entry.offset < at) throw new UsageError(`${where} overlaps the tensor before it`);
    if (entry.offset > at)
      throw new UsageError(`${where} leaves a hole of ${entry.offset - at} bytes before it`);
    at += entry.bytes;
  }
  if (at !== end) throw new UsageError(`${file}: ${end - at} bytes after the last tensor`);
}

/** `JSON.parse` keeps the last of two equal keys without a word. The text is known to be valid JSON here. */
function refuseRepeatedKeys(text: string): void {
  const open: (Set<string> | undefined)[] = []; // keys of the objects around us; undefined for an array
  let atKey = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      const begin = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
      if (!atKey) continue;
      const key = JSON.parse(text.slice(begin, i + 1)) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) throw new Error(`the name ${quote(key)} occurs twice`);
      keys.add(key);
      atKey = false;
    } else if (c === '{' || c === '[') {
      open.push(c === '{' ? new Set() : undefined);
      atKey = c === '{';
    } else if (c === '}' || c === ']') {
      open.pop();
      atKey = false;
    } else if (c === ',') atKey = open.at(-1) !== undefined;
  }
}

/** A name from a hostile file, fit for one line. */
function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
}
