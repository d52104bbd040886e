/** The configuration of a Slurm of one node that needs neither systemd nor control groups nor a data base. */

export interface SlurmPlace {
  /** Of this machine, short: a node is known by it. */
  host: string;
  cores: number;
  /** Where everything that the daemons write lies. */
  folder: string;
  /** Two free ports of 127.0.0.1. */
  ports: [controller: number, node: number];
}

export const confFile = (folder: string): string => `${folder}/slurm.conf`;
export const mungeSocket = (folder: string): string => `${folder}/munge.socket`;

/**
 * Text of slurm.conf. Cores are what is handed out, so that `srun --exclusive` inside a job waits for one; processes are tracked by
 * their parents. A job that is cancelled has a minute to save before SIGKILL.
 */
export function slurmConf({ host, cores, folder, ports: [controller, node] }: SlurmPlace): string {
  const fields: Record<string, string | number> = {
    ClusterName: 'lab',
    SlurmctldHost: `${host}(127.0.0.1)`,
    SlurmctldPort: controller,
    SlurmdPort: node,
    SlurmUser: 'root',
    SlurmdUser: 'root',
    AuthType: 'auth/munge',
    AuthInfo: `socket=${mungeSocket(folder)}`,
    CredType: 'cred/munge',
    StateSaveLocation: `${folder}/state`,
    SlurmdSpoolDir: `${folder}/spool`,
    TmpFS: `${folder}/tmp`, // a node that was killed leaves in it what would refuse the next one's jobs
    SlurmctldPidFile: `${folder}/slurmctld.pid`,
    SlurmdPidFile: `${folder}/slurmd.pid`,
    SlurmctldLogFile: `${folder}/slurmctld.log`,
    SlurmdLogFile: `${folder}/slurmd.log`,
    ProctrackType: 'proctrack/linuxproc',
    TaskPlugin: 'task/none',
    SwitchType: 'switch/none',
    JobAcctGatherType: 'jobacct_gather/none',
    AccountingStorageType: 'accounting_storage/none',
    SelectType: 'select/cons_tres',
    SelectTypeParameters: 'CR_Core',
    MpiDefault: 'none',
    KillWait: 60,
    ReturnToService: 2,
  };
  return [
    ...Object.entries(fields).map(([name, value]) => `${name}=${value}`),
    `NodeName=${host} NodeAddr=127.0.0.1 CPUs=${cores} State=UNKNOWN`,
    `PartitionName=lab Nodes=${host} Default=YES MaxTime=INFINITE State=UP`,
    '',
  ].join('\n');
}

/** The kinds of MPI start-up that `srun --mpi=list` names. */
export function mpiKinds(listed: string): string[] {
  return [...listed.matchAll(/^\s*([a-z]\w*)$/gm)].map(([, kind]) => kind!);
}
