import { existsSync, mkdirSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeDirectory, publish, syncTree, writeAtomically } from '../durable.js';

/** `writeAtomically` for a text, making the directory first. */
export async function writeFileAtomic(path: string, text: string): Promise<void> {
  makeDirectory(dirname(path));
  await writeAtomically(path, text);
}

/**
 * Fills a new directory under a temporary name, syncs all that is in it, then puts it in the place of `path` (what was there
 * is moved aside, then deleted). A kill or a loss of power at any moment leaves the old directory, the new one, or (between
 * the two renames) none under that name, never a mixture; `removeLeftovers` then puts the old one back, and clears what lies
 * beside it. A failure to fill leaves nothing.
 */
export async function writeDirectoryAtomic(
  path: string,
  fill: (directory: string) => Promise<void>,
): Promise<void> {
  const temporary = join(dirname(path), `.tmp-${process.pid}-${basename(path)}`);
  const aside = `${temporary}-old`;
  const discard = (directory: string): Promise<void> => rm(directory, { recursive: true, force: true });
  await discard(temporary);
  makeDirectory(dirname(path));
  mkdirSync(temporary);
  try {
    await fill(temporary);
    syncTree(temporary);
  } catch (error) {
    await discard(temporary);
    throw error;
  }
  await discard(aside);
  await rename(path, aside).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  publish(temporary, path);
  await discard(aside);
}

/** What a killed `writeFileAtomic` or `writeDirectoryAtomic` may leave in a directory. */
export function isLeftover(name: string): boolean {
  return name.startsWith('.tmp-') || /\.tmp(-\d+)?$/.test(name);
}

/**
 * Deletes what killed processes left half-written in a directory, and gives an old directory its name back that was moved
 * aside for one that never came; no other process may be writing there.
 */
export async function removeLeftovers(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    const [, path] = /^\.tmp-\d+-(.+)-old$/.exec(name) ?? [];
    if (path && !existsSync(join(directory, path))) publish(join(directory, name), join(directory, path));
  }
  for (const name of names.filter(isLeftover)) {
    await rm(join(directory, name), { recursive: true, force: true });
  }
}
