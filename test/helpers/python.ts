import { execFileSync } from 'node:child_process';

/** Why tests that ask Python are skipped; undefined where there is one (its standard library is enough). */
export const pythonAbsent = (() => {
  try {
    execFileSync('python3', ['-c', 'import sys; assert sys.version_info >= (3, 9)'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'no python3 of 3.9 or newer';
  }
})();

/** What a script prints. */
export function python(script: string, ...args: string[]): string {
  return execFileSync('python3', [script, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
