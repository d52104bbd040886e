import { execFileSync } from 'node:child_process';

/** The commit that results are of, and whether the sources are as it has them. */
export function commit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', 'src') ? ' and changes' : ''}`;
  } catch {
    return 'unknown';
  }
}
