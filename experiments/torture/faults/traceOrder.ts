import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** One operation as hook.mjs writes it down. */
export interface Operation {
  op: 'create' | 'truncate' | 'write' | 'sync' | 'rename' | 'rm' | 'mkdir';
  path: string;
  to?: string;
  /** The code of its error: it changed nothing. */
  failed?: string;
}

/** What may be lost: nothing depends on it. */
const idle = /\/tensorboard(\/|$)/;

export function readTrace(file: string): Operation[] {
  return JSON.parse(readFileSync(file, 'utf8')) as Operation[];
}

/**
 * Where a loss of power would leave something that is not whole under a name that says it is. Three rules: what a rename
 * moves is synced, files and directories, before it; the directory is synced after it and before anything else is done
 * elsewhere; and when a checkpoint appears, all else that the run wrote is synced too, since a resume builds on it.
 *
 * @returns one line for each breach
 */
export function breaches(operations: readonly Operation[]): string[] {
  const found: string[] = [];
  /** Files with unsynced bytes, and directories with unsynced names. */
  const dirty = new Set<string>();
  const below = (path: string): string[] => [...dirty].filter((p) => p === path || p.startsWith(`${path}/`));
  let renamed: string | undefined;
  for (const { op, path, to, failed } of operations) {
    if (failed) continue;
    if (renamed && op === 'sync' && path === dirname(renamed)) renamed = undefined;
    else if (renamed && !(op === 'rename' && dirname(to!) === dirname(renamed)) && !idle.test(path)) {
      found.push(`${op} ${path} while the name of ${renamed} was not synced`);
      renamed = undefined;
    }
    if (op === 'sync') dirty.delete(path);
    else if (op === 'write' || op === 'truncate') dirty.add(path);
    // A removal that is lost leaves something more, which a resume clears away.
    else if (op === 'rm') for (const gone of below(path)) dirty.delete(gone);
    else dirty.add(dirname(path));
    if (op !== 'rename') continue;
    const unsynced = below(path);
    for (const one of unsynced) {
      dirty.delete(one);
      // Moved aside to be deleted: it was valid before.
      if (!to!.endsWith('-old')) found.push(`${one} was not synced before it became ${to}`);
    }
    dirty.add(dirname(to!));
    renamed = to;
    if (!/\/checkpoints\/\d+$/.test(to!)) continue;
    for (const one of dirty)
      if (one !== dirname(to!) && !idle.test(one) && !isAbove(one, to!))
        found.push(`${one} was not synced before the checkpoint ${to}`);
  }
  if (renamed) found.push(`the name of ${renamed} was never synced`);
  return found;
}

/** The directories that hold a run get their own names synced when they are made. */
function isAbove(directory: string, path: string): boolean {
  return directory === dirname(dirname(dirname(path)));
}
