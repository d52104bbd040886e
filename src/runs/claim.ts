import { linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { UsageError } from '../errors.js';
import { identityOf, launchIn, whereabouts } from './processIdentity.js';

/**
 * Takes a place for this process by putting its identity into `file`; that of a process that has ended is passed over. Of
 * several that ask at the same moment one gets it.
 *
 * @param place, what of the message: `<place>: process <number> <what>`
 * @returns gives the place back
 * @throws UsageError while another process has it, or one that cannot be seen from this machine
 */
export async function claim(file: string, place: string, what: string): Promise<() => Promise<void>> {
  const mine = identityOf(process.pid);
  const holder = await acquire(file, mine).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file}: cannot be written (${error.code}); give a place in a writable directory`);
  });
  if (holder !== undefined) {
    const { pid, host, now } = whereabouts(holder);
    throw new UsageError(
      now === 'elsewhere'
        ? `${place}: process ${pid} on ${host} ${what}, or did; it cannot be seen from here: when it has ended, delete ${file}`
        : `${place}: process ${pid} ${what}; wait for it, or delete ${file} if that process is something else`,
    );
  }
  removeAttempts(file);
  return async () => {
    if (contentOf(file) === mine) rmSync(file, { force: true });
  };
}

/**
 * Gives back the place of a process that came from this launch and has ended without doing so. Where the launcher has ended in
 * good order so has what it started, on whatever machine; nobody else could tell.
 */
export function dropClaim(file: string, launch: string): void {
  if (launchIn(contentOf(file) ?? '') === launch) rmSync(file, { force: true });
}

let attempts = 0;

/** @returns whose it is, or undefined when it is ours now */
async function acquire(file: string, mine: string): Promise<string | undefined> {
  // Written aside and linked into place: a file that is there has the whole identity inside.
  const own = `${file}.${process.pid}-${attempts++}`;
  writeFileSync(own, mine);
  try {
    for (;;) {
      if (isFirst(own, file, mine)) return undefined;
      const holder = await settledContent(file);
      if (holder === undefined) continue; // given back meanwhile
      if (whereabouts(holder).now !== 'ended') return holder;
      // Only one at a time may replace what a dead process left, or the second would replace the first.
      const turn = `${file}.next`;
      const other = await acquire(turn, mine);
      if (other !== undefined) return other;
      try {
        if (contentOf(file) === holder) {
          renameSync(own, file);
          return undefined;
        }
      } finally {
        rmSync(turn, { force: true });
      }
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** Whether the file was not there, and is ours now. */
function isFirst(own: string, file: string, mine: string): boolean {
  try {
    try {
      linkSync(own, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      writeFileSync(file, mine, { flag: 'wx' }); // a file system without links
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** What the file says; an empty one may be about to be written. */
async function settledContent(file: string): Promise<string | undefined> {
  for (let tries = 0; ; tries++) {
    const text = contentOf(file);
    if (text !== '' || tries === 10) return text;
    await wait(20);
  }
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** What processes left that were killed while they asked. */
function removeAttempts(file: string): void {
  for (const name of readdirSync(dirname(file))) {
    if (!name.startsWith(`${basename(file)}.`)) continue;
    const [, pid] = /^(?:\.next)*\.(\d+)-\d+$/.exec(name.slice(basename(file).length)) ?? [];
    if (!pid) continue;
    const path = join(dirname(file), name);
    if (whereabouts(contentOf(path) || pid).now === 'ended') rmSync(path, { force: true });
  }
}
