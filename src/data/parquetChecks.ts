import type { ColumnMetaData, FileMetaData, SchemaTree } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from 'hyparquet/src/schema.js';

/*
 * A Parquet file says itself how much there is of everything, and the library allocates what it says. Here every count is held against the
 * bytes that are there or against a limit before anything is decoded, so that a damaged or hostile file is an error, not all of the memory.
 */

/** Values of all columns of a row group. */
export const maxValues = 2 ** 24;
/** Bytes of all pages of a row group, decompressed. */
export const maxGroupBytes = 2 ** 30;
const maxSchema = 4096;

/** @throws Error saying in a few words what cannot be */
export function checkFooter({ schema, row_groups, num_rows }: FileMetaData, fileBytes: number): void {
  if (schema.length < 2) throw new Error('no columns');
  if (schema.length > maxSchema) throw new Error(`${schema.length} schema elements, more than ${maxSchema}`);
  let rows = 0;
  for (const [g, group] of row_groups.entries()) {
    const here = count(group.num_rows, `rows of row group ${g}`);
    rows += here;
    let values = here;
    for (const { meta_data, file_path } of group.columns) {
      if (!meta_data || file_path !== undefined) throw new Error(`row group ${g} has columns in other files`);
      values += count(meta_data.num_values, `values of row group ${g}`);
      const { start, bytes } = chunkRange(meta_data);
      if (!(start >= 4 && bytes >= 0 && start + bytes <= fileBytes))
        throw new Error(
          `column ${meta_data.path_in_schema.join('.')} of row group ${g} lies outside of the file`,
        );
    }
    if (values > maxValues)
      throw new Error(
        `row group ${g} has ${values} values, more than ${maxValues}; write smaller row groups (row_group_size=100000)`,
      );
  }
  if (rows !== Number(num_rows)) throw new Error(`${num_rows} rows announced, ${rows} in the row groups`);
}

function count(value: bigint | number, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`${what}: ${value}`);
  return number;
}

/** Where the pages of a column lie in the file. */
export function chunkRange(meta: ColumnMetaData): { start: number; bytes: number } {
  return {
    start: Number(meta.dictionary_page_offset || meta.data_page_offset),
    bytes: Number(meta.total_compressed_size),
  };
}

/** What `checkPage` needs to know of a page once its bytes are decompressed. */
interface PageFacts {
  /** Values, nulls included. */
  values: number;
  encoding: string;
  /** 1: the levels stand in the page; 2: they stand in front of it and are checked already; 0: a dictionary. */
  version: 0 | 1 | 2;
}

const encodings = [
  'PLAIN',
  'PLAIN_DICTIONARY',
  'RLE_DICTIONARY',
  'RLE',
  'DELTA_BINARY_PACKED',
  'DELTA_LENGTH_BYTE_ARRAY',
  'BYTE_STREAM_SPLIT',
];

/** The pages of one column of a row group. */
export class ColumnPages {
  private readonly facts = new Map<number, PageFacts>();
  /** Bytes of all pages, decompressed. */
  bytes = 0;
  private readonly levels: { repetition: number; definition: number };
  private readonly boolean: boolean;

  /** Reads the headers. @throws Error for counts and sizes that cannot be */
  constructor(chunk: ArrayBuffer, meta: ColumnMetaData, path: SchemaTree[]) {
    this.levels = { repetition: getMaxRepetitionLevel(path), definition: getMaxDefinitionLevel(path) };
    this.boolean = meta.type === 'BOOLEAN';
    const view = new DataView(chunk);
    const reader = { view, offset: 0 };
    let left = Number(meta.num_values);
    while (reader.offset < view.byteLength - 1) {
      const header = parquetHeader(reader);
      const at = reader.offset;
      const stored = header.compressed_page_size;
      const bytes = header.uncompressed_page_size;
      if (!(stored >= 0 && at + stored <= view.byteLength && bytes >= 0 && bytes <= maxGroupBytes))
        throw new Error(`a page of ${stored} bytes (${bytes} decompressed) does not fit`);
      this.bytes += bytes;
      reader.offset += stored;
      const v2 = header.data_page_header_v2;
      const page = header.data_page_header ?? v2 ?? header.dictionary_page_header;
      if (!page) throw new Error(`page type ${header.type}`);
      const fits =
        page.encoding === 'RLE' ? this.boolean : !(this.boolean && page.encoding.endsWith('DICTIONARY'));
      if (!encodings.includes(page.encoding) || !fits)
        throw new Error(`encoding ${page.encoding} of ${meta.type} is not read`);
      const version = header.type === 'DICTIONARY_PAGE' ? 0 : header.type === 'DATA_PAGE_V2' ? 2 : 1;
      if (version > 0) left -= page.num_values;
      const most = version === 0 ? maxValues : Number(meta.num_values);
      if (!(page.num_values >= 0 && page.num_values <= most && left >= 0))
        throw new Error(`a page of ${page.num_values} values where ${meta.num_values} are announced`);
      const facts: PageFacts = { values: page.num_values, encoding: page.encoding, version };
      if (!v2) {
        this.facts.set(at, facts);
        if (meta.codec === 'UNCOMPRESSED') this.check(new Uint8Array(chunk, at, stored), facts);
        continue;
      }
      const [repetition, definition] = [v2.repetition_levels_byte_length, v2.definition_levels_byte_length];
      const nulls = v2.num_nulls;
      if (!(repetition >= 0 && definition >= 0 && repetition + definition <= Math.min(stored, bytes)))
        throw new Error('levels longer than their page');
      if (!(nulls >= 0 && nulls <= v2.num_values))
        throw new Error(`${nulls} nulls of ${v2.num_values} values`);
      const levels = new Uint8Array(chunk, at, repetition + definition);
      if (this.levels.repetition > 0)
        walkRuns(levels, 0, repetition, widthOf(this.levels.repetition), facts.values);
      if (this.levels.definition > 0)
        walkRuns(levels, repetition, levels.length, widthOf(this.levels.definition), facts.values);
      const body = at + repetition + definition;
      this.facts.set(body, { ...facts, values: facts.values - nulls });
      const raw = meta.codec === 'UNCOMPRESSED' || v2.is_compressed === false;
      if (raw) this.check(new Uint8Array(chunk, body, stored - levels.length), this.facts.get(body)!);
    }
  }

  /** The bytes of the page whose stored bytes begin at `at`, before the library decodes them. @throws Error */
  checkAt(at: number, page: Uint8Array): void {
    const facts = this.facts.get(at);
    if (!facts) throw new Error('a page where none begins');
    this.check(page, facts);
  }

  private check(page: Uint8Array, { values, encoding, version }: PageFacts): void {
    if (version === 0) return;
    let at = 0;
    let present = values;
    if (version === 1) {
      const { repetition, definition } = this.levels;
      if (repetition > 0) at = this.prefixed(page, at, widthOf(repetition), values).end;
      if (definition > 0) {
        const found = this.prefixed(page, at, widthOf(definition), values, definition);
        at = found.end;
        present = found.matching;
      }
    }
    if (encoding === 'RLE') {
      if (present > 0) this.prefixed(page, at, 1, present);
    } else if (encoding.endsWith('DICTIONARY') && present > 0) {
      const width = page[at];
      if (width === undefined || width > 32) throw new Error(`dictionary indices of ${width} bits`);
      if (width > 0 || version === 2) walkRuns(page, at + 1, page.length, width, present);
    }
  }

  /** Runs behind their length in four bytes. */
  private prefixed(page: Uint8Array, at: number, width: number, values: number, target?: number) {
    const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    const end = at + 4 + view.getUint32(at, true);
    if (end > page.length) throw new Error('levels longer than their page');
    return { end, matching: walkRuns(page, at + 4, end, width, values, target) };
  }
}

/** Bits of numbers from 0 to `most`. */
function widthOf(most: number): number {
  return 32 - Math.clz32(most);
}

/**
 * Goes over runs of the hybrid encoding (run lengths and bit-packed groups) without writing them out.
 *
 * @returns how many of the values are `target` @throws Error for a run longer than the values, or when the bytes end before
 */
function walkRuns(
  bytes: Uint8Array,
  from: number,
  end: number,
  width: number,
  values: number,
  target = 0,
): number {
  let at = from;
  let seen = 0;
  let matching = 0;
  while (seen < values) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= end || shift > 28) throw new Error('runs that do not fill their page');
      const byte = bytes[at++]!;
      header |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    const length = header & 1 ? (header >>> 1) * 8 : header >>> 1;
    if (length > values - seen + (header & 1 ? 7 : 0)) throw new Error('a run longer than its page');
    const counted = Math.min(length, values - seen);
    if (header & 1) {
      for (let i = 0; i < counted; i++) if (bitsAt(bytes, at, i * width, width) === target) matching++;
      at += (header >>> 1) * width;
    } else {
      const stored = (width + 7) >> 3;
      if (at + stored > end) throw new Error('runs that do not fill their page');
      if (bitsAt(bytes, at, 0, width) === target) matching += counted;
      at += stored;
    }
    seen += length;
  }
  return matching;
}

function bitsAt(bytes: Uint8Array, at: number, bit: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i += 1) {
    const position = bit + i;
    value |= (((bytes[at + (position >> 3)] ?? 0) >> (position & 7)) & 1) << i;
  }
  return value;
}
