import { setupCommand } from '../tensor/provision/paths.js';
import { readMpiNote } from './addon.js';
import { findMpicxx } from './setupMpi.js';

/** What `doctor` knows of MPI. It is for runs on several machines, so that its absence is no problem. */
export interface MpiInspection {
  /** In words: for which MPI it is built, or what sets it up. */
  state: string;
  library: string | null;
  addon: string | null;
  mpicxx: string | null;
}

export function inspectMpi(): MpiInspection {
  const note = readMpiNote();
  const mpicxx = findMpicxx() ?? null;
  if (note)
    return { state: `ready, built for ${note.library}`, library: note.library, addon: note.addon, mpicxx };
  const missing = mpicxx ? '' : '; no mpicxx here, it comes with an MPI for development';
  return {
    state: `not set up (optional, for runs on several machines: ${setupCommand} --mpi${missing})`,
    library: null,
    addon: null,
    mpicxx,
  };
}
