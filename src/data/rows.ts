import { open, readFile } from 'node:fs/promises';
import { UsageError } from '../errors.js';
import { asObject, cannotRead, decodeUtf8, type JsonRow, readJsonl } from './jsonl.js';
import { parquetMagic, readParquet } from './parquet.js';

/** The rows of a Parquet file, of a JSON file that is one array, or of a JSONL file; which of them, the first characters tell. */
export async function* readRows(file: string): AsyncGenerator<JsonRow> {
  const kind = await rowsKind(file);
  if (kind !== 'array') {
    yield* kind === 'parquet' ? readParquet(file) : readJsonl(file);
    return;
  }
  let rows: unknown;
  try {
    rows = JSON.parse(await textOf(file));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file}: not JSON (${(error as Error).message.split('\n')[0]})`);
  }
  for (const [index, row] of (rows as unknown[]).entries()) {
    const where = `${file}[${index}]`;
    yield { where, value: asObject(row, where), number: index };
  }
}

/** What kind of rows a file holds, by its first characters. @throws UsageError for one that cannot be read */
export async function rowsKind(file: string): Promise<'parquet' | 'array' | 'jsonl'> {
  const start = await beginning(file);
  if (start.startsWith(parquetMagic)) return 'parquet';
  if (/\.parquet$/i.test(file))
    throw new UsageError(`${file}: its name says Parquet, and it does not begin with ${parquetMagic}`);
  return start.startsWith('[') ? 'array' : 'jsonl';
}

/**
 * Whether a file that may also be plain text holds rows: its name says so, or it is JSON whatever its name. A text may well
 * begin with a bracket ("[Illustration]"), so its first line, or all of it, must parse.
 */
export async function holdsRows(file: string): Promise<boolean> {
  if (/\.(jsonl|ndjson|json|parquet)$/i.test(file)) return true;
  const start = await beginning(file);
  if (start.startsWith(parquetMagic)) return true;
  if (!/^[[{]/.test(start)) return false;
  const text = (await textOf(file)).trim();
  return [text.split('\n', 1)[0]!, text].some(isRowsText);
}

function isRowsText(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.some((row) => typeof row === 'object') : typeof value === 'object';
  } catch {
    return false;
  }
}

/** The text of a whole file, strict UTF-8. @throws UsageError */
export async function textOf(file: string): Promise<string> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) =>
    Promise.reject(cannotRead(file, error)),
  );
  return decodeUtf8(bytes, file);
}

/** The first characters of a file after a byte-order mark and white space. */
async function beginning(file: string): Promise<string> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) =>
    Promise.reject(cannotRead(file, error)),
  );
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
    return buffer
      .toString('utf8', 0, bytesRead)
      .replace(/^\uFEFF/, '')
      .trimStart();
  } catch (error) {
    throw cannotRead(file, error as NodeJS.ErrnoException);
  } finally {
    await handle.close();
  }
}
