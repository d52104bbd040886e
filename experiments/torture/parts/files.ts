import type { Part } from '../part.js';

/** Mutated files, in process. */
export const files: Part = {
  name: 'files',
  what: 'Mutations of every file that is read.',
  leavesOut: 'everything else.',
  share: 1,
  async run() {},
  async again() {
    return undefined;
  },
};
