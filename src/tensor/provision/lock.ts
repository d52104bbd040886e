import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunError } from '../../errors.js';

/**
 * One set-up at a time for one cache. The lock is a file that names its holder; it is fresh while the holder
 * touches it. It only saves work: everything is published by renaming, so that even two set-ups that both
 * believe to hold it cannot spoil each other's result.
 */

const BEAT_MS = 2_000;
const STALE_MS = 30_000;

/** Runs `work` while holding `file`; waits for another holder that is alive, takes over from one that is not. */
export async function withLock<T>(
  file: string,
  say: (line: string) => void,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  const token = `${process.pid} ${hostname()} ${Date.now()}`;
  for (let told = false; !acquire(file, token); ) {
    if (signal?.aborted) throw new RunError(`another set-up holds ${file}, and time ran out waiting for it`);
    const [other] = holder(file).split(' ');
    // No holder: the file went meanwhile, or was stale and has just been removed.
    if (other && !told) say(`another set-up is at work (process ${other}); waiting for it`);
    told ||= Boolean(other);
    await sleep(other ? 200 : 10);
  }
  const beat = setInterval(() => {
    try {
      const now = new Date();
      utimesSync(file, now, now);
    } catch {
      // Removed under us: the next to come starts afresh, see above.
    }
  }, BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    if (holder(file) === token) rmSync(file, { force: true });
  }
}

function acquire(file: string, token: string): boolean {
  // Written aside and linked into place: a lock that exists has a whole token inside.
  const mine = join(dirname(file), `.lock-${process.pid}-${Math.trunc(performance.now() * 1000)}`);
  writeFileSync(mine, token);
  try {
    linkSync(mine, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const found = holder(file);
    if (isStale(file, found)) {
      // Renaming lets exactly one of several waiters remove the stale file.
      const old = `${mine}-old`;
      try {
        renameSync(file, old);
      } catch {
        return false;
      }
      rmSync(old, { force: true });
    }
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}

function holder(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function isStale(file: string, token: string): boolean {
  const [pid, host] = token.split(' ');
  try {
    if (Date.now() - statSync(file).mtimeMs > STALE_MS) return true;
  } catch {
    return false; // just released
  }
  if (host !== hostname() || !/^\d+$/.test(pid ?? '')) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
