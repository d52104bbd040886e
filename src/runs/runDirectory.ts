import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Shards } from '../cluster/shards.js';
import { makeDirectory } from '../durable.js';
import { UsageError } from '../errors.js';
import type { Scratch } from '../training/method.js';
import { isLeftover, removeLeftovers, writeFileAtomic } from './atomic.js';

/** Where the pieces of a run lie; the layout is part of the command-line contract. */
export function runPaths(directory: string) {
  return {
    directory,
    config: join(directory, 'config.resolved.yaml'),
    environment: join(directory, 'environment.json'),
    inputs: join(directory, 'inputs.json'),
    // Beside the directory: a new run wants it empty.
    process: join(dirname(directory), `.${basename(directory)}.pid`),
    metrics: join(directory, 'metrics.jsonl'),
    timing: join(directory, 'timing.jsonl'),
    samples: join(directory, 'samples'),
    evaluation: join(directory, 'evaluation.json'),
    checkpoints: join(directory, 'checkpoints'),
    best: join(directory, 'best'),
    final: join(directory, 'final'),
    tensorboard: join(directory, 'tensorboard'),
    scratch: join(directory, 'scratch'),
  };
}

/**
 * Opens the directory of a run. A new run wants an empty or absent one; a resumed run wants the one that the same
 * configuration made.
 *
 * @throws UsageError if a new run would overwrite another, or a resumed one continue something else
 */
export async function openRunDirectory(directory: string, config: string, resume: boolean): Promise<void> {
  const paths = runPaths(directory);
  const existing = await readFile(paths.config, 'utf8').catch(() => undefined);
  if (existing === undefined) {
    const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw new UsageError(
        `${directory}: cannot be used as a run directory (${error.code}); give --out a new one`,
      );
    });
    // A run killed at its very first file leaves a half-written configuration and nothing else.
    if (entries.some((name) => !isLeftover(name))) {
      throw new UsageError(`${directory}: is not empty and holds no run; give --out a new directory`);
    }
    try {
      makeDirectory(directory);
    } catch (error) {
      throw new UsageError(
        `${directory}: cannot be made (${(error as NodeJS.ErrnoException).code}); give --out a directory that can be written`,
      );
    }
    await writeFileAtomic(paths.config, config);
    await removeLeftovers(directory);
    return;
  }
  if (!resume) throw occupied(directory);
  if (existing !== config) {
    throw new UsageError(
      `${directory}: was made with another configuration (${firstDifference(existing, config)}); use the same one, or another --out`,
    );
  }
  for (const place of [directory, paths.samples, paths.scratch]) await removeLeftovers(place);
}

/** Says at once, before anything is loaded, what `openRunDirectory` would say of a directory that holds a run. */
export function refuseOccupied(directory: string, resume: boolean): void {
  if (!resume && existsSync(runPaths(directory).config)) throw occupied(directory);
}

const occupied = (directory: string): UsageError =>
  new UsageError(
    `${directory}: holds a run already; add --resume to go on with it, or give --out a new directory`,
  );

function firstDifference(a: string, b: string): string {
  const [left, right] = [a.split('\n'), b.split('\n')];
  const line = left.findIndex((text, i) => text !== right[i]);
  return line < 0 ? 'fields added' : `${left[line]!.trim()} there, ${(right[line] ?? 'nothing').trim()} here`;
}

/** Small files that a method computes once and reads again after a resume. */
export function scratchOf(directory: string): Scratch {
  const path = (name: string): string => join(runPaths(directory).scratch, name);
  return {
    place: path,
    read: (name) => readFile(path(name), 'utf8').catch(() => undefined),
    write: (name, text) => writeFileAtomic(path(name), text),
  };
}

/** The same for all ranks: rank 0 reads and writes the files. */
export function sharedScratch(own: Scratch, shards: Shards): Scratch {
  const keeps = shards.cluster.rank === 0;
  return {
    ...own,
    read: async (name) => shards.first(keeps ? await own.read(name) : undefined),
    write: async (name, text) => {
      if (keeps) await own.write(name, text);
    },
  };
}
