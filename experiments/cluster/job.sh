#!/bin/sh
#SBATCH --ntasks=2
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
srun --mpi=pmix minillm train run.yaml --out runs/batch --resume
code=$?
# 130: the run has saved and stopped. It goes on when the job has its next turn.
if [ $code -eq 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
