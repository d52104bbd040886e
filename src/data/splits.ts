import { createHash } from 'node:crypto';
import path from 'node:path';
import { makeDirectory, writeAtomicallySync } from '../durable.js';

export const splitNames = ['train', 'valid', 'test'] as const;
export type SplitName = (typeof splitNames)[number];

/** Writes the files of a data set into a directory. */
export function writeFiles(directory: string, files: Record<string, string>): void {
  makeDirectory(directory);
  for (const [name, text] of Object.entries(files)) writeAtomicallySync(path.join(directory, name), text);
}

/** The part of a data card that says which bytes it speaks of. */
export function checksumTable(files: Record<string, string>): string {
  const rows = Object.keys(files)
    .sort()
    .map((name) => {
      const sum = createHash('sha256').update(files[name]!).digest('hex');
      return `| ${name} | ${Buffer.byteLength(files[name]!)} | ${sum} |`;
    });
  return ['| file | bytes | sha256 |', '|---|--:|---|', ...rows].join('\n');
}
