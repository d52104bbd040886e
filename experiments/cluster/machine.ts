/** What the laboratory needs of this machine. Each gives the reason why it cannot run here, nothing where it can. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { ip } from './network.js';

/** Debian puts daemons where only root's PATH looks. */
const PLACES = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

/** Where a program lies; undefined where it does not. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':').filter(Boolean), ...PLACES];
  return folders.map((folder) => `${folder}/${name}`).find((file) => existsSync(file));
}

export function missingPrograms(names: readonly string[], packages: string): string | undefined {
  const missing = names.filter((name) => findProgram(name) === undefined);
  return missing.length > 0
    ? `${missing.join(', ')} not found; on Debian: apt-get install ${packages}`
    : undefined;
}

const needsRoot = (): string | undefined =>
  process.getuid?.() === 0 ? undefined : 'it must be root, who alone may do this';

export function unableToBuildHosts(): string | undefined {
  return (
    needsRoot() ??
    missingPrograms(
      ['mpirun', 'mpicxx', 'ip', 'unshare'],
      'openmpi-bin libopenmpi-dev iproute2 util-linux',
    ) ??
    notOpenMpi() ??
    noNamespaces()
  );
}

export function unableToStartSlurm(): string | undefined {
  return (
    needsRoot() ??
    missingPrograms(['mpirun', 'mpicxx'], 'openmpi-bin libopenmpi-dev') ??
    missingPrograms(['munged', 'slurmctld', 'slurmd', 'srun', 'sbatch'], 'slurm-wlm munge')
  );
}

/** The launch agent is a parameter of Open MPI's mpirun. */
function notOpenMpi(): string | undefined {
  const said = mpiVersion();
  return said.includes('Open MPI') ? undefined : `mpirun is not Open MPI's (${said})`;
}

/** By trying: containers often are root without being allowed this. */
function noNamespaces(): string | undefined {
  const name = `lab${process.pid}-try`;
  try {
    ip(['netns', 'add', name]);
    ip(['link', 'add', `lab${process.pid}t`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
    return undefined;
  } catch (error) {
    return `no network namespace: ${lastLine((error as { stderr?: string }).stderr ?? String(error))}`;
  } finally {
    for (const words of [
      ['link', 'del', `lab${process.pid}t`],
      ['netns', 'del', name],
    ]) {
      spawnSync('ip', words);
    }
  }
}

/** The first line of `mpirun --version`. */
export function mpiVersion(): string {
  return (spawnSync('mpirun', ['--version'], { encoding: 'utf8' }).stdout ?? '').split('\n')[0]!.trim();
}

export const lastLine = (text: string): string => text.trim().split('\n').at(-1)!.trim();
