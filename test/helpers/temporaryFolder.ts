import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const made: string[] = [];

afterAll(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A new empty folder, there until the tests of the file that asks for it have run. */
export function temporaryFolder(name: string): string {
  made.push(mkdtempSync(join(tmpdir(), `minillm-${name}-`)));
  return made.at(-1)!;
}
