import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { launchOf } from '../../src/launch.js';

const openMpi = {
  OMPI_COMM_WORLD_SIZE: '4',
  OMPI_COMM_WORLD_RANK: '3',
  OMPI_COMM_WORLD_LOCAL_RANK: '1',
  PMIX_RANK: '3',
};
const hydra = { PMI_SIZE: '4', PMI_RANK: '2', MPI_LOCALRANKID: '0', MPI_LOCALNRANKS: '2' };
/** What a batch script has, and every step in it. */
const batch = { SLURM_JOB_ID: '7', SLURM_NTASKS: '8', SLURM_PROCID: '0', SLURM_LOCALID: '0' };
const step = {
  ...batch,
  SLURM_STEP_ID: '0',
  SLURM_STEP_NUM_TASKS: '8',
  SLURM_PROCID: '5',
  SLURM_LOCALID: '1',
};

describe('what a launcher says', () => {
  it.each([
    ['mpirun of Open MPI', openMpi, { by: 'mpirun', rank: 3, size: 4, localRank: 1 }],
    ['mpirun in a batch script', { ...batch, ...openMpi }, { by: 'mpirun', rank: 3, size: 4, localRank: 1 }],
    ['mpiexec of MPICH', hydra, { by: 'mpiexec', rank: 2, size: 4, localRank: 0 }],
    [
      // Its proxies are a step of their own, one task a machine.
      'mpiexec of MPICH in Slurm',
      { ...step, ...hydra, SLURM_STEP_NUM_TASKS: '2', SLURM_LOCALID: '0', MPI_LOCALRANKID: '1' },
      { by: 'mpiexec', rank: 2, size: 4, localRank: 1 },
    ],
    [
      'srun --mpi=pmi2',
      { ...step, PMI_SIZE: '8', PMI_RANK: '5' },
      { by: 'srun', rank: 5, size: 8, localRank: 1 },
    ],
    ['srun --mpi=pmix', { ...step, PMIX_RANK: '5' }, { by: 'srun', rank: 5, size: 8, localRank: 1 }],
  ])('%s', (_, env, launch) => expect(launchOf(env)).toEqual(launch));

  it.each([
    ['nothing', {}],
    ['a plain command of a batch script', batch],
    ['mpirun -n 1', { ...openMpi, OMPI_COMM_WORLD_SIZE: '1', OMPI_COMM_WORLD_RANK: '0' }],
    ['mpiexec -n 1', { ...hydra, PMI_SIZE: '1', PMI_RANK: '0' }],
    ['srun -n 1', { ...step, SLURM_STEP_NUM_TASKS: '1', SLURM_PROCID: '0' }],
    ['srun -n 1 --mpi=pmix', { ...step, SLURM_STEP_NUM_TASKS: '1', PMIX_RANK: '0' }],
  ])('%s: alone', (_, env) => expect(launchOf(env)).toBeUndefined());

  it('srun without MPI is told what to give', () => {
    expect(() => launchOf(step)).toThrow(UsageError);
    expect(() => launchOf(step)).toThrow(
      'started as one of 8 processes by srun, which gives them no MPI to find each other; give srun --mpi=pmix or --mpi=pmi2',
    );
  });

  it.each([
    [{ ...openMpi, OMPI_COMM_WORLD_SIZE: 'many' }, 'OMPI_COMM_WORLD_SIZE is many; expected a whole number'],
    [{ ...openMpi, OMPI_COMM_WORLD_RANK: undefined }, 'OMPI_COMM_WORLD_RANK is not set'],
    [{ ...openMpi, OMPI_COMM_WORLD_RANK: '4' }, 'OMPI_COMM_WORLD_RANK is 4 and OMPI_COMM_WORLD_SIZE is 4'],
  ])('%j is refused', (env, line) => expect(() => launchOf(env)).toThrow(line));
});
