import { ensureEngine } from '../src/tensor/provision/setup.js';

/**
 * Before the first test: sets up the native engine where it is missing, so that `npm ci && npm test` tests it too.
 * Never fails: without it the tests of the native engine say that they are skipped.
 */
export default async function setup(): Promise<void> {
  await ensureEngine({ say: (line) => console.error(line), limitMs: 4 * 60_000 });
}
