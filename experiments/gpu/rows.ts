import { markdownTable } from '../bench/markdown.js';

/** A line of the table that the check ends with. */
export interface Row {
  part: string;
  what: string;
  state: 'ok' | 'FAILED' | 'skipped' | 'measured';
  note: string;
}

/** What tells a row of a part's process from whatever else it prints. */
const MARK = '@row ';

/** Says a row to the process that began this one; it makes the table. */
export function tell(what: string, state: Row['state'], note = ''): void {
  process.stdout.write(`${MARK}${JSON.stringify({ what, state, note: oneLine(note) })}\n`);
}

/** A row of whether something holds; `check` fails where it does not. */
export function verdict(what: string, holds: boolean, note = ''): void {
  tell(what, holds ? 'ok' : 'FAILED', note);
}

/** The row of a line, where it is one. */
export function rowOf(part: string, line: string): Row | undefined {
  return line.startsWith(MARK)
    ? { part, ...(JSON.parse(line.slice(MARK.length)) as Omit<Row, 'part'>) }
    : undefined;
}

export const failures = (rows: readonly Row[]): number =>
  rows.filter(({ state }) => state === 'FAILED').length;

export function tableOf(rows: readonly Row[]): string {
  const lines = rows.map(({ part, what, state, note }) => [part, what, state, note.replaceAll('|', '/')]);
  return markdownTable(['part', 'what', 'state', 'note'], lines, [0, 1, 2, 3]);
}

/** The first line of a text or of an error, not too long for a table. */
export function oneLine(text: unknown): string {
  const said = text instanceof Error ? text.message : String(text);
  return (said.trim().split('\n')[0] ?? '').slice(0, 500);
}
