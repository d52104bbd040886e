import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { writeAtomicallySync } from '../durable.js';
import { defaultCacheDir, nodeApiHeaders } from '../tensor/provision/paths.js';
import { platformName } from '../tensor/provision/store.js';

/** What the addon (addon/mpi.cc) does. Everything throws an error in one line. */
export interface Mpi {
  /** Which MPI this is, in its own words; before `init` too. */
  library(): string;
  init(): { rank: number; size: number };
  /** Begins to send `out` and to receive `into`, each of at most 1 GiB. @returns the number to wait for */
  begin(partner: number, tag: number, out: Uint8Array, into: Uint8Array): number;
  /** @returns false when it is not over after so many seconds */
  wait(swap: number, seconds: number): boolean;
  /** The memory there as an ArrayBuffer, not a copy. */
  memory(address: number, bytes: number): ArrayBuffer;
  finalize(): void;
  abort(code: number): never;
}

const schema = z.object({
  addon: z.string(),
  /** Of the sources that it was built from. */
  sources: z.string(),
  library: z.string(),
  mpicxx: z.string(),
});
export type MpiNote = z.infer<typeof schema>;

/** The C++ files, beside this one (also in a build); arguments.h is that of the other addons. */
export const SOURCE = fileURLToPath(new URL('./addon/mpi.cc', import.meta.url));
export const INCLUDE = fileURLToPath(new URL('../tensor/engines/cuda/addon/', import.meta.url));

/** Where addons for MPI are kept. */
export const mpiCache = (): string => join(defaultCacheDir(), 'mpi');
const noteFile = (): string => join(mpiCache(), `${platformName}.json`);

/** Changes when the addon has to be built anew, whatever MPI it is for. */
export function sourcesKey(): string {
  const hash = createHash('sha256').update(`${process.arch}\n${nodeApiHeaders()?.version}\n`);
  for (const file of [SOURCE, join(INCLUDE, 'arguments.h')]) hash.update(readFileSync(file));
  return hash.digest('hex').slice(0, 32);
}

/** What `setup --mpi` noted; undefined where it has not run, or the addon has gone or is of other sources. */
export function readMpiNote(): MpiNote | undefined {
  try {
    const note = schema.parse(JSON.parse(readFileSync(noteFile(), 'utf8')));
    return existsSync(note.addon) && note.sources === sourcesKey() ? note : undefined;
  } catch {
    return undefined;
  }
}

export function writeMpiNote(note: MpiNote): void {
  writeAtomicallySync(noteFile(), `${JSON.stringify(note, null, 1)}\n`);
}

/** @throws an error in one line where the MPI that it was built for does not load */
export function loadMpi({ addon }: MpiNote): Mpi {
  return createRequire(import.meta.url)(addon) as Mpi;
}

/** `Open MPI 4.1.4` out of what a library says of itself. */
export function libraryName(said: string): string {
  const [, name, version] = /^(Open MPI|MPICH|MVAPICH2?)\s*(?:Version)?:?\s*v?([\w.]+)/i.exec(said) ?? [];
  return name ? `${name} ${version}` : said.split(/[\n,]/)[0]!.trim().slice(0, 80) || 'an MPI without a name';
}
