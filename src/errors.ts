/**
 * The two kinds of failure a person meets. Both carry ONE line that names what, where, what was expected and
 * how to mend it; the command line prints that line and nothing else (a stack trace only with `--debug`).
 */

/** Bad usage, configuration or input file: exit code 2, and nothing has been written. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A run that began properly and did not finish: exit code 1 for a failure (non-finite loss, lost file), 130 for Ctrl-C after a clean save. */
export class RunError extends Error {
  override readonly name = 'RunError';
  constructor(
    message: string,
    readonly exitCode: 1 | 130 = 1,
  ) {
    super(message);
  }
}
