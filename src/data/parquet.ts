import { type FileHandle, open } from 'node:fs/promises';
import { TextDecoder } from 'node:util';
import type { AsyncRowGroup, FileMetaData, RowGroup, SchemaTree } from 'hyparquet';
import { UsageError } from '../errors.js';
import { cannotRead, type JsonRow } from './jsonl.js';

/** The bytes that a Parquet file begins and ends with. */
export const parquetMagic = 'PAR1';
/** A footer describes every column of every row group in some 150 bytes. */
const maxFooter = 16 * 2 ** 20;

/**
 * The rows of a Parquet file, in its order, as JSON would have them: structs as objects, lists as arrays, int64 as numbers where they are
 * safe and as their digits where not, dates as ISO 8601. A null is a field that is absent. Columns of bytes, such as pictures, are left
 * out. Memory is bounded by one row group; what it may hold is in parquetChecks.ts.
 *
 * @throws UsageError naming file and what is wrong, for a file that cannot be read, is truncated or damaged
 */
export async function* readParquet(file: string): AsyncGenerator<JsonRow> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) =>
    Promise.reject(cannotRead(file, error)),
  );
  try {
    const { metadata, schema } = await guarded(file, 'footer', () => readFooter(handle));
    let first = 0;
    for (const group of metadata.row_groups) {
      const count = Number(group.num_rows);
      const columns = await guarded(file, `rows from ${first}`, () => readGroup(handle, group, schema));
      for (let from = 0; from < count; from += slices.rows) {
        const to = Math.min(count, from + slices.rows);
        const parts = await guarded(file, `rows from ${first + from}`, () =>
          Promise.all(
            columns.map(async ({ name, strict, part }) => ({ name, strict, values: await part(from, to) })),
          ),
        );
        for (let i = 0; i < to - from; i++) {
          const number = first + from + i;
          const value: Record<string, unknown> = {};
          for (const { name, strict, values } of parts) {
            const entry = plain(values[i], strict);
            if (entry === damaged) throw broken(file, `row ${number}`, `"${name}" has no such value`);
            if (entry !== null) value[name] = entry;
          }
          yield { where: `${file}[${number}]`, value, number };
        }
      }
      first += count;
    }
  } finally {
    await handle.close();
  }
}

/** Rows of which structs and lists are objects at a time; a row group of a million would be gigabytes of them. */
export const slices = { rows: 8192 };

/** The library is loaded with the first such file. */
async function library() {
  const [parquet, column, rowgroup, schema, checks, { codecs }] = await Promise.all([
    import('hyparquet'),
    import('hyparquet/src/column.js'),
    import('hyparquet/src/rowgroup.js'),
    import('hyparquet/src/schema.js'),
    import('./parquetChecks.js'),
    import('./parquetCodecs.js'),
  ]);
  return { ...parquet, ...column, ...rowgroup, ...schema, ...checks, codecs };
}

async function readFooter(handle: FileHandle): Promise<{ metadata: FileMetaData; schema: SchemaTree }> {
  const { parquetMetadata, parquetSchema, checkFooter } = await library();
  const { size } = await handle.stat();
  const tail = new DataView(await bytesAt(handle, Math.max(0, size - 8), Math.min(8, size)));
  const ending = size >= 12 ? Buffer.from(tail.buffer).toString('latin1', 4) : '';
  if (ending === 'PARE') throw new Error('it is encrypted');
  if (ending !== parquetMagic) throw new Error(`it does not end with ${parquetMagic}; is it truncated?`);
  const length = tail.getUint32(0, true);
  if (length > size - 12) throw new Error(`${length} bytes announced, ${size - 12} are there`);
  if (length > maxFooter) throw new Error(`${length} bytes, more than ${maxFooter}; write larger row groups`);
  const bytes = await bytesAt(handle, size - 8 - length, length + 8);
  const metadata = parquetMetadata(bytes, { geoparquet: false });
  checkFooter(metadata, size);
  return { metadata, schema: parquetSchema(metadata) };
}

type AsyncColumn = AsyncRowGroup['asyncColumns'][number];

interface Column {
  name: string;
  /** Whether a value that is not there is damage. */
  strict: boolean;
  /** The values of some rows. */
  part(from: number, to: number): Promise<ArrayLike<unknown>>;
}

/** The columns of a row group that hold values of JSON. */
async function readGroup(handle: FileHandle, group: RowGroup, schema: SchemaTree): Promise<Column[]> {
  const {
    readColumn,
    assembleAsync,
    getTreePath,
    DEFAULT_PARSERS,
    ColumnPages,
    chunkRange,
    maxGroupBytes,
    codecs,
  } = { ...(await library()), ...(await import('hyparquet/src/convert.js')) };
  const rows = Number(group.num_rows);
  if (rows === 0) return [];
  const parsers = { ...DEFAULT_PARSERS, stringFromBytes };
  const columns: Column[] = [];
  let bytes = 0;
  for (const child of schema.children.filter(isJson)) {
    const { name } = child.element;
    const leaves = group.columns.flatMap(({ meta_data }) =>
      meta_data?.path_in_schema[0] === name ? [meta_data] : [],
    );
    const asyncColumns: AsyncColumn[] = [];
    for (const meta of leaves) {
      const path = getTreePath(schema, meta.path_in_schema);
      const { start, bytes: stored } = chunkRange(meta);
      const chunk = await bytesAt(handle, start, stored);
      const pages = new ColumnPages(chunk, meta, path);
      bytes += pages.bytes;
      if (bytes > maxGroupBytes)
        throw new Error(
          `${bytes} bytes in a row group, more than ${maxGroupBytes}; write smaller row groups`,
        );
      const compressors = Object.fromEntries(
        Object.entries(codecs).map(([codec, decompress]) => [
          codec,
          (input: Uint8Array, length: number) => {
            const page = decompress(input, length);
            pages.checkAt(input.byteOffset, page);
            return page;
          },
        ]),
      );
      const read = readColumn(
        { view: new DataView(chunk), offset: 0 },
        { groupStart: 0, groupRows: rows, selectStart: 0, selectEnd: rows },
        {
          ...meta,
          pathInSchema: meta.path_in_schema,
          element: path.at(-1)!.element,
          schemaPath: path,
          parsers,
          compressors,
        },
      );
      const values = read.data.length === 1 ? read.data[0]! : read.data.flatMap((page) => Array.from(page));
      if (values.length !== rows) throw new Error(`column "${name}" has ${values.length} of ${rows} rows`);
      asyncColumns.push({
        pathInSchema: meta.path_in_schema,
        data: Promise.resolve({ data: [values], skipped: 0 }),
      });
    }
    if (leaves.length === 0) throw new Error(`column "${name}" is missing`);
    columns.push({
      name,
      strict: !holdsMap(child),
      async part(from, to) {
        const asked = { groupStart: 0, groupRows: rows, selectStart: from, selectEnd: to, asyncColumns };
        const { data, skipped } = await assembleAsync(asked, schema, parsers).asyncColumns[0]!.data;
        return data[0]!.slice(from - skipped, to - skipped);
      },
    });
  }
  return columns;
}

function holdsMap({ element, children }: SchemaTree): boolean {
  return element.converted_type === 'MAP' || children.some(holdsMap);
}

/** Whether a column holds what JSON can: no plain bytes anywhere in it. */
function isJson({ element, children }: SchemaTree): boolean {
  if (children.length > 0) return element.logical_type?.type !== 'VARIANT' && children.every(isJson);
  const kind = element.logical_type?.type ?? element.converted_type ?? '';
  if (element.type === 'BYTE_ARRAY') return ['STRING', 'UTF8', 'ENUM', 'JSON', 'DECIMAL'].includes(kind);
  if (element.type === 'FIXED_LEN_BYTE_ARRAY') return ['DECIMAL', 'UUID', 'FLOAT16'].includes(kind);
  return true;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
function stringFromBytes(bytes: Uint8Array | undefined): string | undefined {
  return bytes && utf8.decode(bytes);
}

/** A value that the file refers to and does not have. */
const damaged = Symbol('damaged');

/** A value of JSON. @param strict whether undefined is damage rather than null */
function plain(value: unknown, strict: boolean): unknown {
  if (value === undefined) return strict ? damaged : null;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const items = Array.from(value as ArrayLike<unknown>, (item) => plain(item, strict));
    return items.includes(damaged) ? damaged : items;
  }
  const own: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(value)) {
    const item = plain(part, strict);
    if (item === damaged) return damaged;
    if (item !== null) own[name] = item;
  }
  return own;
}

async function bytesAt(handle: FileHandle, start: number, length: number): Promise<ArrayBuffer> {
  const bytes = new ArrayBuffer(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(new Uint8Array(bytes), done, length - done, start + done);
    if (bytesRead === 0) throw new Error('the file ends before');
    done += bytesRead;
  }
  return bytes;
}

/** What the library says of a damaged file, as one line about it. */
async function guarded<T>(file: string, part: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall) throw cannotRead(file, error as NodeJS.ErrnoException);
    throw broken(file, part, (error as Error).message);
  }
}

function broken(file: string, part: string, why: string): UsageError {
  return new UsageError(`${file}: not a Parquet file that can be read; is it damaged? (${part}: ${why})`);
}
