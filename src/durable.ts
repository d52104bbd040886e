import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

/*
 * Files that a kill, a full disk or a loss of power leaves whole. What is written gets a temporary name first; it is synced
 * before the rename that makes it valid, and the directory after it. Everything that a run or a command keeps is written here.
 */

/**
 * Writes a file so that a reader, a kill or a loss of power at any moment finds the old file or the new one and nothing
 * between: a temporary name in the same directory, fsync, rename, fsync of the directory.
 */
export async function writeAtomically(
  file: string,
  content: string | ((handle: FileHandle) => Promise<void>),
): Promise<void> {
  const temporary = temporaryName(file);
  try {
    const handle = await open(temporary, 'w');
    try {
      if (typeof content === 'string') await handle.writeFile(content);
      else await content(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    publish(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** The same at once, for a content that is at hand. */
export function writeAtomicallySync(file: string, content: string | Uint8Array): void {
  const temporary = temporaryName(file);
  try {
    const fd = openSync(temporary, 'w');
    try {
      writeFileSync(fd, content);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    publish(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function temporaryName(file: string): string {
  return join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
}

/** Gives something that is synced its final name, durably. */
export function publish(temporary: string, path: string): void {
  renameSync(temporary, path);
  syncDirectory(dirname(path));
}

/** A directory and those above it that are missing; after a loss of power they are there. */
export function makeDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  const top = dirname(resolve(first));
  for (let made = resolve(path); made !== top; made = dirname(made)) syncDirectory(dirname(made));
}

/** Syncs every file and directory below a directory, and itself. */
export function syncTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) syncTree(path);
    else if (entry.isFile()) syncFile(path);
  }
  syncDirectory(directory);
}

/** Makes the names in a directory durable. Some systems cannot open or sync one; there it is as durable as it gets. */
export function syncDirectory(directory: string): void {
  try {
    syncFile(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EIO' || code === 'ENOSPC' || code === 'EDQUOT') throw error;
  }
}

/** Makes the content of a file durable. */
export function syncFile(path: string): void {
  // Windows syncs only what is open for writing.
  const writing = process.platform === 'win32' && !lstatSync(path).isDirectory();
  const fd = openSync(path, writing ? 'r+' : 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
