import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { cudaNote, setupCommand } from '../../provision/paths.js';
import { chooseLibraries, findLibraries, type LibraryName, libraryNames } from './libraries.js';

/** What the engine opens, by path. */
export type ChosenLibraries = Record<LibraryName, string>;

const schema = z.object({
  nvrtc: z.string(),
  cublasLt: z.string(),
  /** Where each was found, in words. */
  from: z.object({ nvrtc: z.string(), cublasLt: z.string() }),
  /** The card that the set-up computed on; null where it ran on a machine without one. */
  tried: z.string().nullable(),
});
export type Note = z.infer<typeof schema>;

/** What `setup --gpu` noted; undefined where it has not run, or a library has gone since. */
export function readNote(): Note | undefined {
  try {
    const note = schema.parse(JSON.parse(readFileSync(cudaNote(), 'utf8')));
    return libraryNames.every((name) => existsSync(note[name])) ? note : undefined;
  } catch {
    return undefined;
  }
}

export function writeNote(note: Note): void {
  mkdirSync(dirname(cudaNote()), { recursive: true });
  const unfinished = `${cudaNote()}.${process.pid}`;
  writeFileSync(unfinished, `${JSON.stringify(note, null, 1)}\n`);
  renameSync(unfinished, cudaNote());
}

/** The libraries of the note, else the best that are found. @throws an error in one line that names the missing one */
export async function librariesToUse(driver: number): Promise<ChosenLibraries> {
  const note = readNote();
  if (note) return note;
  const { nvrtc, cublasLt } = chooseLibraries(await findLibraries(), driver);
  if (nvrtc && cublasLt) return { nvrtc: nvrtc.path, cublasLt: cublasLt.path };
  const missing = [...(nvrtc ? [] : ['NVRTC']), ...(cublasLt ? [] : ['cublasLt'])].join(' and ');
  throw new Error(
    `${missing} of CUDA 12 or 13 ${missing.includes('and') ? 'are' : 'is'} not found ("${setupCommand} --gpu" fetches what is missing)`,
  );
}
