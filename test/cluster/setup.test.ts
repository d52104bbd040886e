import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { libraryName, readMpiNote } from '../../src/cluster/addon.js';
import { inspectMpi } from '../../src/cluster/inspectMpi.js';
import { runInProcess } from '../helpers/cli.js';
import { mpiAbsent } from '../helpers/mpi.js';
import { temporaryFolder } from '../helpers/temporary.js';

const absent = await mpiAbsent();
const folder = temporaryFolder('setup-mpi');

afterEach(() => vi.unstubAllEnvs());

/** A program that stands for mpicxx. */
function standIn(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('setup --mpi', () => {
  it('without mpicxx says what brings it, and doctor that it is optional', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'empty'));
    vi.stubEnv('PATH', join(folder, 'nothing'));
    vi.stubEnv('MPICXX', '');
    const { code, stderr } = await runInProcess('setup', '--mpi');
    expect(stderr).toMatch(/^minillm: no mpicxx on the PATH; it comes with .*libopenmpi-dev.*\n$/);
    expect(code).toBe(1);
    expect(inspectMpi().state).toMatch(/^not set up \(optional, .*setup --mpi; no mpicxx here/);
  });

  it.each([
    [
      'does not compile',
      'echo "mpi.cc:5: fatal error: mpi.h: no such file" >&2; exit 1',
      'mpi.h: no such file',
    ],
    [
      'makes what does not load',
      'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo nothing > "$2"; shift; done',
      'does not load',
    ],
  ])('an mpicxx that %s is an error in one line, and nothing is kept', async (name, script, why) => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, name));
    vi.stubEnv('MPICXX', standIn(`mpicxx ${name}`, script));
    const { code, stderr } = await runInProcess('setup', '--mpi', '--quiet');
    expect(stderr).toMatch(/^minillm: .*\n$/);
    expect(stderr).toContain(why);
    expect(code).toBe(1);
    expect(readMpiNote()).toBeUndefined();
  });

  it('is one set-up at a time', async () => {
    const { code, stderr } = await runInProcess('setup', '--mpi', '--gpu');
    expect(stderr).toBe('minillm: --gpu is of another set-up; leave it out, or --mpi\n');
    expect(code).toBe(2);
  });

  it.skipIf(absent !== undefined)(
    `the second time there is nothing to do${absent === undefined ? '' : ` [skipped: ${absent}]`}`,
    async () => {
      const { stdout, stderr } = await runInProcess('setup', '--mpi');
      expect(stdout).toMatch(/^MPI: ready already, nothing to do; built for \S.* with .*mpi\S+\n$/);
      expect(stderr).toBe('');
      const { library } = JSON.parse((await runInProcess('setup', '--mpi', '--json')).stdout) as {
        library: string;
      };
      expect(inspectMpi().state).toBe(`ready, built for ${library}`);
    },
  );
});

it.each([
  [
    'Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022',
    'Open MPI 4.1.4',
  ],
  ['Open MPI v5.0.3, package: Open MPI root@x Distribution', 'Open MPI 5.0.3'],
  ['MPICH Version:      4.0.2\nMPICH Release date: Thu Apr  7', 'MPICH 4.0.2'],
  ['Intel(R) MPI Library 2021.10 for Linux* OS\n', 'Intel(R) MPI Library 2021.10 for Linux* OS'],
  ['', 'an MPI without a name'],
])('%j is %s', (said, name) => expect(libraryName(said)).toBe(name));
