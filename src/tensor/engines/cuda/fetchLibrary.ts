import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { RunError } from '../../../errors.js';
import { cudaCache } from '../../provision/paths.js';
import { findPip, pipDownload, type Work } from '../../provision/pip.js';
import { LIBRARY_ENTRY, listEntries, publish, stagingFolder, verifyEntry } from '../../provision/store.js';
import { readMetadata, unpackWanted } from '../../provision/wheelFile.js';
import type { FoundLibrary, LibraryName } from './libraries.js';

/** NVIDIA's packages by the CUDA that they are of. */
const PACKAGES: Record<LibraryName, Record<number, string>> = {
  nvrtc: { 12: 'nvidia-cuda-nvrtc-cu12==12.*', 13: 'nvidia-cuda-nvrtc==13.*' },
  cublasLt: { 12: 'nvidia-cublas-cu12==12.*', 13: 'nvidia-cublas==13.*' },
};
/** The library, and what NVRTC loads from beside itself; their folder differs between CUDA 12 and 13. */
const WANTED = {
  nvrtc: [/^nvidia\/[^/]+\/lib\/libnvrtc(-builtins)?\.so[.\d]*$/],
  cublasLt: [/^nvidia\/[^/]+\/lib\/libcublasLt\.so[.\d]*$/],
};

/**
 * Fetches a library out of NVIDIA's Python package into the cache, with pip and its settings (index, mirror, proxy). pip compares
 * the package with the index's digest, the files are compared with the package's RECORD; each package counts only when whole, so
 * that a set-up that was ended goes on with the next.
 *
 * @param major of CUDA: 13 for a driver that knows it, else 12 @throws RunError in one line, with what else could be done
 */
export async function fetchLibrary(name: LibraryName, major: number, work: Work): Promise<FoundLibrary> {
  const python = await findPip();
  const staging = stagingFolder(work.cacheDir);
  const wheel = await pipDownload(python, PACKAGES[name][major]!, join(staging, 'downloads'), work).catch(
    (error: Error) => {
      throw new RunError(
        `${error.message}; without a network: PIP_FIND_LINKS=FOLDER for a folder with the wheel, or --from FOLDER for one that holds lib${name}.so.${major}`,
      );
    },
  );
  const { version } = await readMetadata(wheel);
  work.say(`unpacking ${basename(wheel)}`);
  const members = await unpackWanted(wheel, WANTED[name], join(staging, 'members'));
  const out = join(staging, 'out');
  mkdirSync(join(out, 'lib'), { recursive: true });
  const known: Record<string, string> = {};
  for (const [member, sha256] of Object.entries(members)) {
    const to = `lib/${basename(member)}`;
    renameSync(join(staging, 'members', member), join(out, to));
    known[to] = sha256;
  }
  const library = `lib${name}.so.${major}`;
  if (!existsSync(join(out, 'lib', library)))
    throw new RunError(
      `${basename(wheel)} holds no ${library}; expected a Linux wheel of ${PACKAGES[name][major]}`,
    );
  const facts = { version, variant: 'cuda', source: 'wheel' } as const;
  const { dir } = await publish(cudaCache(), out, facts, known, `lib${name}-${version}`);
  return { path: join(dir, 'lib', library), major, from: "minillm's cache" };
}

/** Reads what was fetched before again, and removes what is not as it was stored. */
export async function removeDamagedLibraries(say: (line: string) => void): Promise<void> {
  for (const { dir, entry } of listEntries(cudaCache(), LIBRARY_ENTRY)) {
    const damage = typeof entry === 'string' ? entry : await verifyEntry(entry);
    if (damage === undefined) continue;
    say(`${dir} is damaged (${damage}); removing it`);
    rmSync(dir, { recursive: true, force: true });
  }
}
