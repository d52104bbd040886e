/** munged, slurmctld and slurmd of a one-node Slurm, in a directory of their own. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { type Job, start, until } from './jobs.js';
import { findProgram, lastLine } from './machine.js';
import { confFile, mpiKinds, mungeSocket, slurmConf } from './slurmConf.js';

/**
 * Starts the three daemons and waits until the node takes jobs. Whoever calls ends them, as all that has the directory's name in its environment.
 *
 * @returns what commands need in their environment
 * @throws Error with the last line of the daemon that did not come up
 */
export async function startSlurm(folder: string, env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  for (const name of ['', '/state', '/spool', '/tmp'])
    mkdirSync(`${folder}${name}`, { recursive: true, mode: 0o755 });
  writeFileSync(`${folder}/munge.key`, randomBytes(1024), { mode: 0o600 });
  const ports: [number, number] = [await freePort(), await freePort()];
  const [host] = hostname().split('.') as [string];
  writeFileSync(confFile(folder), slurmConf({ host, cores: availableParallelism(), folder, ports }));
  const withConf = { ...env, SLURM_CONF: confFile(folder) };

  const munge = ['key', 'pid', 'log', 'seed'].map((what) => `--${what}-file=${folder}/munge.${what}`);
  const socket = mungeSocket(folder);
  // --force: as root, and in a directory that others may not write in.
  const munged = daemon('munged', ['--foreground', '--force', `--socket=${socket}`, ...munge], withConf);
  await until(() => existsSync(socket) || undefined, 'munged', munged, 20);
  const controller = daemon('slurmctld', ['-D'], withConf);
  const node = daemon('slurmd', ['-D'], withConf);
  const isIdle = () => run(['sinfo', '-h', '-o', '%T'], withConf).trim() === 'idle' || undefined;
  const log = () => lastLine(read(`${folder}/slurmctld.log`) + read(`${folder}/slurmd.log`));
  try {
    await until(
      () => (controller.isOver() || node.isOver() ? false : isIdle()),
      'an idle node',
      controller,
      40,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${log()}`);
  }
  return withConf;
}

function daemon(name: string, options: string[], env: NodeJS.ProcessEnv): Job {
  return start([findProgram(name)!, ...options], env, '/', Number.POSITIVE_INFINITY);
}

/** What this Slurm can start an MPI with. */
export const offeredMpi = (env: NodeJS.ProcessEnv): string[] => mpiKinds(run(['srun', '--mpi=list'], env));

/** Both streams of a command that answers at once. */
export function run(words: string[], env: NodeJS.ProcessEnv): string {
  const { stdout, stderr } = spawnSync(words[0]!, words.slice(1), { env, encoding: 'utf8', timeout: 20_000 });
  return `${stdout ?? ''}${stderr ?? ''}`;
}

const read = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject(address)));
    });
  });
}
