import { readFileSync, statSync } from 'node:fs';
import { UsageError } from '../errors.js';

/** How the report reads files that it does not trust: nothing here throws over what a file says. */

const largestFile = 200 * 2 ** 20;

/** The text of a file, or null if there is none. @throws UsageError if it is too large to be read. */
export function readText(file: string): string | null {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile()) return null;
  if (stat.size > largestFile) {
    throw new UsageError(
      `${file}: ${Math.round(stat.size / 2 ** 20)} MB, expected at most ${largestFile / 2 ** 20}; keep fewer rows`,
    );
  }
  return readFileSync(file, 'utf8');
}

/** A record that a key such as `constructor` is not in unless it was put there: names come from files. */
export function record<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  return Object.assign(Object.create(null), Object.fromEntries(entries)) as Record<string, T>;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const finite = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value);

/** A JSON object, or an empty one and a note. */
export function parseObject(text: string | null, name: string, notes: string[]): Record<string, unknown> {
  if (text === null) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Noted below.
  }
  notes.push(`${name} is not a JSON object`);
  return {};
}

/** Every line that `accept` takes; the last line of a file may be torn, any other refused line is counted too. */
export function jsonLines<T>(
  text: string | null,
  accept: (value: unknown, line: number) => T | undefined,
): { rows: T[]; bad: number } {
  const rows: T[] = [];
  let bad = 0;
  for (const [i, line] of (text ?? '').split('\n').entries()) {
    if (line.trim() === '') continue;
    let row: T | undefined;
    try {
      row = accept(JSON.parse(line), i);
    } catch {
      row = undefined;
    }
    if (row === undefined) bad++;
    else rows.push(row);
  }
  return { rows, bad };
}
