import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** An empty directory of its own for a test file; `remove` deletes it. */
export function temporaryDirectory(name: string): { path: string; remove: () => void } {
  const path = realpathSync(mkdtempSync(join(tmpdir(), `minillm-${name}-`)));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const removals: (() => void)[] = [];
afterAll(() => {
  for (const remove of removals.splice(0)) remove();
});

/** The same for tests that want several: each is there until the tests of the file have run. */
export function temporaryFolder(name: string): string {
  const { path, remove } = temporaryDirectory(name);
  removals.push(remove);
  return path;
}
