/**
 * The two kinds of failure a person meets. Both carry ONE line that names what, where, what was expected and
 * how to mend it; the command line prints that line and nothing else (a stack trace only with `--debug`).
 */

/** A longer line is read by nobody: the middle of what a hostile file brings into it is left out. */
const LONGEST = 1000;

/** One line, whatever names and texts of a file are in it. */
function line(message: string): string {
  const one = message.replace(/\s*\p{Cc}+\s*/gu, ' ');
  return one.length <= LONGEST ? one : `${one.slice(0, LONGEST - 201)}…${one.slice(-200)}`;
}

/** A value from a file as a part of a message: JSON, cut at `most` characters; nesting may be deeper than the stack. */
export function brief(value: unknown, most = 80): string {
  try {
    return (JSON.stringify(value) ?? 'nothing').slice(0, most);
  } catch {
    return Array.isArray(value) ? 'a list nested too deeply' : 'an object nested too deeply';
  }
}

const disk: Record<string, string> = {
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the quota of the disk is used up',
  EROFS: 'the disk is read-only',
  EIO: 'the disk fails',
  EFBIG: 'the file is larger than the disk takes',
};

/** A write that the disk refused, in words; undefined for any other error. @param out where it was written, for an error that does not say */
export function refusedByDisk(error: unknown, out?: string): string | undefined {
  const { code = '', path = out } = error as NodeJS.ErrnoException;
  const why = disk[code];
  return why && `${path ? `${path}: ` : ''}${why} (${code})`;
}

/** Bad usage, configuration or input file: exit code 2, and nothing has been written. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  constructor(message: string) {
    super(line(message));
  }
}

/** A run that began properly and did not finish: exit code 1 for a failure (non-finite loss, lost file), 130 for Ctrl-C after a clean save. */
export class RunError extends Error {
  override readonly name = 'RunError';
  constructor(
    message: string,
    readonly exitCode: 1 | 130 = 1,
  ) {
    super(line(message));
  }
}
