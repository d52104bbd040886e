import { UsageError } from './errors.js';

/** One of several processes that were started together, as their launcher's environment says. */
export interface Launch {
  /** mpirun, mpiexec or srun. */
  by: string;
  rank: number;
  size: number;
  /** Its number among the processes of this machine. */
  localRank: number;
}

/**
 * What mpirun (Open MPI 4 and 5), mpiexec (Hydra: MPICH and its relatives) or srun (--mpi=pmi2, --mpi=pmix) put into the
 * environment. SLURM_NTASKS is no sign: in a batch script a plain command has it too, and is one process; only srun gives the
 * tasks of a step.
 *
 * @returns undefined for a process by itself, also where a launcher started one only
 * @throws UsageError for srun without MPI, and for numbers that are none
 */
export function launchOf(env: NodeJS.ProcessEnv): Launch | undefined {
  const slurm = env.SLURM_STEP_NUM_TASKS;
  const slurmLocal = slurm === undefined ? undefined : 'SLURM_LOCALID';
  const launched = (by: string, size: string, rank: string, ...local: (string | undefined)[]) => {
    const name = local.find((one) => one !== undefined && env[one] !== undefined);
    const launch = {
      by,
      rank: numberOf(env, rank),
      size: numberOf(env, size),
      localRank: name === undefined ? 0 : numberOf(env, name),
    };
    if (launch.rank >= launch.size && launch.size > 0)
      throw new UsageError(
        `${rank} is ${launch.rank} and ${size} is ${launch.size}; expected a rank below it`,
      );
    return launch.size > 1 ? launch : undefined;
  };
  if (env.OMPI_COMM_WORLD_SIZE !== undefined)
    return launched(
      'mpirun',
      'OMPI_COMM_WORLD_SIZE',
      'OMPI_COMM_WORLD_RANK',
      'OMPI_COMM_WORLD_LOCAL_RANK',
      slurmLocal,
    );
  if (env.PMI_SIZE !== undefined) {
    const hydra = env.MPI_LOCALRANKID !== undefined || slurm === undefined;
    return launched(hydra ? 'mpiexec' : 'srun', 'PMI_SIZE', 'PMI_RANK', 'MPI_LOCALRANKID', slurmLocal);
  }
  if (slurm === undefined) return undefined;
  if (env.PMIX_RANK !== undefined) return launched('srun', 'SLURM_STEP_NUM_TASKS', 'PMIX_RANK', slurmLocal);
  if (numberOf(env, 'SLURM_STEP_NUM_TASKS') > 1)
    throw new UsageError(
      `started as one of ${slurm} processes by srun, which gives them no MPI to find each other; give srun --mpi=pmix or --mpi=pmi2 (srun --mpi=list says which it has)`,
    );
  return undefined;
}

function numberOf(env: NodeJS.ProcessEnv, name: string): number {
  const text = env[name];
  if (text === undefined || !/^\d{1,9}$/.test(text))
    throw new UsageError(`${name} is ${text ?? 'not set'}; expected a whole number from the launcher`);
  return Number(text);
}
