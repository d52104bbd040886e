import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { makeDirectory, writeAtomicallySync } from '../durable.js';
import { UsageError } from '../errors.js';

export const splitNames = ['train', 'valid', 'test'] as const;
export type SplitName = (typeof splitNames)[number];

/**
 * Writes the files of a data set into a directory. What is there already is overwritten when it is the same, or when the data card
 * beside it has its checksum: a data set that was built here and not touched since, which its card tells how to build again.
 *
 * @param force overwrites any file
 * @throws UsageError naming the files that are somebody's own; then nothing is written
 */
export function writeFiles(directory: string, files: Record<string, string>, force = false): void {
  const card = readIfThere(path.join(directory, 'README.md')) ?? '';
  const foreign = Object.keys(files).filter((name) => {
    const old = readIfThere(path.join(directory, name));
    const built = name === 'README.md' ? card.includes(tableHead) : old && card.includes(sha256(old));
    return old !== undefined && old !== files[name] && !built;
  });
  if (foreign.length > 0 && !force)
    throw new UsageError(
      `${directory}: holds ${foreign.join(', ')} that this command did not make; give --out another directory, or add --force to overwrite`,
    );
  makeDirectory(directory);
  for (const [name, text] of Object.entries(files)) writeAtomicallySync(path.join(directory, name), text);
}

/** The part of a data card that says which bytes it speaks of. */
export function checksumTable(files: Record<string, string>): string {
  const rows = Object.keys(files)
    .sort()
    .map((name) => {
      return `| ${name} | ${Buffer.byteLength(files[name]!)} | ${sha256(files[name]!)} |`;
    });
  return [tableHead, '|---|--:|---|', ...rows].join('\n');
}

const tableHead = '| file | bytes | sha256 |';

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}
