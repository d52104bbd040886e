import { UsageError } from '../errors.js';
import { launchOf } from '../launch.js';
import { setupCommand } from '../tensor/provision/paths.js';
import { loadMpi, type Mpi, readMpiNote } from './addon.js';
import { alone, type Cluster } from './cluster.js';
import { endOfRank, giveWay } from './ending.js';
import { MpiCluster } from './mpi.js';

/** Exit codes with which all ranks end together: done, and stopped after a clean save. */
const TOGETHER = [0, 130];

/**
 * Takes part in the run that mpirun, mpiexec or srun started this process for; a process by itself never loads MPI. At the end of the
 * process MPI is ended too, when all ranks have come so far; one that ends with another exit code than 0 or 130 ends all.
 *
 * `rankTimeout`: seconds after which a rank that does not answer is given up.
 *
 * @throws UsageError where this cannot be: not set up, another MPI, a number of processes that is no power of two
 */
export async function joinCluster({ rankTimeout = 600 }: { rankTimeout?: number } = {}): Promise<Cluster> {
  const launch = launchOf(process.env);
  if (!launch) return alone;
  const { by, rank, size } = launch;
  const refused = (why: string): UsageError => {
    giveWay(rank); // what is wrong with all is said once, where the launcher ends the others
    return new UsageError(`started as one of ${size} processes by ${by}${why}`);
  };
  if (!Number.isInteger(Math.log2(size))) throw refused('; expected a power of two (1, 2, 4, 8, …)');
  const note = readMpiNote();
  if (!note)
    throw refused(`, and support for MPI is not set up; run \`${setupCommand} --mpi\` on every machine`);
  let mpi: Mpi;
  try {
    mpi = loadMpi(note);
  } catch (error) {
    throw refused(
      `, and ${note.library} does not load: ${(error as Error).message}; run \`${setupCommand} --mpi\` on this machine`,
    );
  }
  const cluster = new MpiCluster(mpi, rankTimeout);
  if (cluster.size !== size)
    throw refused(
      `, and ${note.library} knows of ${cluster.size}: ${by} belongs to another MPI${by === 'srun' ? ', or needs another --mpi=' : ''}; run \`${setupCommand} --mpi\` with the mpicxx on the PATH that goes with it`,
    );
  // Node would say it after the event below, which this process does not survive.
  process.once('uncaughtExceptionMonitor', (error) => endOfRank(cluster, error.stack ?? String(error), 1));
  process.once('exit', (code) => {
    if (!TOGETHER.includes(code)) {
      giveWay(cluster.rank);
      cluster.abort(code);
    }
    try {
      cluster.leave();
    } catch (error) {
      endOfRank(cluster, (error as Error).message, 1);
    }
  });
  cluster.meet();
  return cluster;
}
