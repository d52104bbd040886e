import { ensureEngine } from '../src/tensor/provision/setup.js';
import { compileProgram } from './helpers/compiled.js';

/**
 * Before the first test: compiles the program for the tests that run it as a process, and sets up the native engine where it
 * is missing, so that `npm ci && npm test` tests it too. That never fails: without it the tests of the native engine say that
 * they are skipped.
 */
export default async function setup(): Promise<void> {
  await compileProgram();
  await ensureEngine({ say: (line) => console.error(line), limitMs: 4 * 60_000 });
}
