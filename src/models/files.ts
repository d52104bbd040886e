import { readFile, stat } from 'node:fs/promises';
import { UsageError } from '../errors.js';

/** A JSON file that must hold an object.
 *
 * @throws UsageError in one line if it is missing, unreadable, larger than `maxBytes`, no JSON or no object
 */
export async function readJsonObject(file: string, maxBytes = 16 << 20): Promise<Record<string, unknown>> {
  const { size } = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file}: ${describeIo(error)}`);
  });
  if (size > maxBytes)
    throw new UsageError(`${file}: ${size} bytes, expected a JSON file of at most ${maxBytes}`);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file}: ${describeIo(error)}`);
  });
  let value: unknown;
  try {
    value = JSON.parse(withoutMark(text));
  } catch (error) {
    throw new UsageError(lfsPointer(text, file) ?? `${file}: not valid JSON (${oneLine(error)})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${file}: expected a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** A text without the byte-order mark that some editors put in front. */
export function withoutMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}

/** What to say of a file that is the pointer which Git LFS leaves in a clone without it; undefined of any other. */
export function lfsPointer(text: string, file: string): string | undefined {
  return text.startsWith('version https://git-lfs.github.com/')
    ? `${file}: a Git LFS pointer, not the file itself; "git lfs pull" in that clone fetches it`
    : undefined;
}

export async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** What went wrong with a file, in words. */
export function describeIo(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return 'no such file';
  if (error.code === 'EISDIR') return 'is a directory, expected a file';
  if (error.code === 'EACCES' || error.code === 'EPERM') return 'permission denied';
  return oneLine(error);
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 200);
}
