import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { findMpicxx, setupMpi } from '../../src/cluster/setupMpi.js';
import { run, which } from '../../src/tensor/provision/process.js';
import type { Outcome } from './cli.js';

/**
 * Builds the addon for MPI where it is missing. What mpirun takes and says is written for Open MPI's.
 *
 * @returns why there are no processes under mpirun here
 */
export async function mpiAbsent(): Promise<string | undefined> {
  if (!which('mpirun')) return 'no mpirun here';
  if (!findMpicxx()) return 'no mpicxx here';
  const { stdout } = await run('mpirun', ['--version'], { timeoutMs: 20_000 });
  if (!stdout.includes('Open MPI')) return "mpirun here is not Open MPI's";
  return setupMpi().then(
    ({ library }) => (library.startsWith('Open MPI') ? undefined : `mpicxx here is ${library}'s`),
    (error: Error) => error.message,
  );
}

/** What the tests' environment says of a launcher that started them is not for their processes. */
const launched = /^(OMPI_|PMIX?_|PRTE_|SLURM_|MPI_LOCAL)/;

/** Node processes under mpirun, also as root and on fewer cores. @returns what all wrote, and mpirun's exit code */
export function mpirun(size: number, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !launched.test(name)));
  const asRoot = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const child = spawn('mpirun', ['--oversubscribe', '-n', String(size), process.execPath, ...args], {
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    env: { ...own, ...asRoot, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
    });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...written }));
  });
}
