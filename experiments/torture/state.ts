import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Failure } from './part.js';

/** One call of the campaign. */
export interface Session {
  started: string;
  minutes: number;
  commit: string;
  machine: string;
}

/** A part so far, FOLDER/PART.json: what makes it resumable, and all that the page is made from. Everything adds up over calls. */
export interface PartState {
  seed: number;
  sessions: Session[];
  seconds: number;
  /** The first case that was not run yet. */
  next: number;
  counts: Record<string, number>;
  facts: Record<string, string>;
  failures: Failure[];
}

/** What is known of a part; undefined where it never ran. */
export function readState(folder: string, part: string): PartState | undefined {
  const file = join(folder, `${part}.json`);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

/** @throws Error if the state is of another seed: its cases would be others under the same numbers */
export function openState(folder: string, part: string, seed: number): PartState {
  const found = readState(folder, part);
  if (found && found.seed !== seed) {
    throw new Error(`${join(folder, part)}.json: of seed ${found.seed}, not ${seed}; give another --out`);
  }
  return found ?? { seed, sessions: [], seconds: 0, next: 0, counts: {}, facts: {}, failures: [] };
}

/** Whole or not at all: a campaign is there to be killed. */
export function writeState(folder: string, part: string, state: PartState): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${part}.json`);
  writeFileSync(`${file}.tmp`, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(`${file}.tmp`, file);
}
