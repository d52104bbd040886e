/** The longest line that a person would read. */
const LINE = 1200;

/**
 * What is wrong with the way a case ended; undefined if nothing. Right is no error, or one of ours whose first line, as
 * the program prints it, is short and names what it is about.
 */
export function judge(error: unknown, names: readonly string[]): string | undefined {
  if (!(error instanceof Error)) return `threw ${typeof error}`;
  const shown = error.message.split('\n')[0]!.replace(/\s*\p{Cc}+\s*/gu, ' ');
  if (error.name !== 'UsageError' && error.name !== 'RunError')
    return `${error.name}: ${shown.slice(0, 200)} ${firstPlace(error)}`;
  if (shown.length > LINE) return `a line of more than ${LINE} characters: ${shown.slice(0, 120)}…`;
  if (!names.some((name) => shown.includes(name))) return `a line that names no file: ${shown.slice(0, 200)}`;
  return undefined;
}

/** The place in our sources that an error came from. */
function firstPlace({ stack = '' }: Error): string {
  const place = /src\/[\w/.-]+\.ts:\d+/.exec(stack);
  return place ? `(${place[0]})` : '';
}
