/**
 * A Slurm of one node on this machine, and runs that it starts.
 *
 *     npm run cluster:slurm
 *
 * Options as of hosts.ts. It needs root, Slurm, munge and Open MPI; where one is missing it says so and leaves. Exit code 1 when something is
 * not as it must be.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { offeredMpi, run, startSlurm } from './daemons.js';
import { finish, until } from './jobs.js';
import {
  compare,
  inPlace,
  type Lab,
  middle,
  noteStopped,
  oneProcess,
  runLaboratory,
  toTheEnd,
} from './laboratory.js';
import { findProgram, unableToStartSlurm } from './machine.js';
import { differingFiles, stepsLogged } from './place.js';

const JOB = fileURLToPath(new URL('job.sh', import.meta.url));

/** A batch job that is warned in the middle of a round, saves, puts itself back into the queue, and goes on. */
async function warned(lab: Lab): Promise<void> {
  const { place } = lab;
  copyFileSync(JOB, inPlace(lab, 'job.sh'));
  const command = 'sbatch job.sh';
  lab.say(`batch job with a warning: ${command}`);
  const from = performance.now();
  const [id] = /\d+/.exec((await finish(['sh', '-c', command], place.env, place.path)).said)!;
  const out = inPlace(lab, `slurm-${id}.out`);
  const said = () => (existsSync(out) ? readFileSync(out, 'utf8') : '');
  let [asked, known] = [0, undefined as string | undefined];
  const state = () => {
    if (performance.now() - asked < 1000) return known; // each is a process
    known = /JobState=(\w+)/.exec(run(['scontrol', 'show', 'job', id], place.env))?.[1];
    asked = performance.now();
    return known;
  };
  const step = () => stepsLogged(inPlace(lab, 'runs/batch'));
  await until(
    () => {
      if (state() === 'FAILED') throw new Error(`${command}: ${said().slice(-2000)}`);
      return step() >= middle(place) || undefined;
    },
    `step ${middle(place)} of runs/batch`,
  );
  const warning = `scancel --signal=USR1 ${id}`;
  run(['sh', '-c', warning], place.env);
  const since = performance.now();
  await until(() => (state() ?? 'RUNNING') !== 'RUNNING' || undefined, 'the end of the warned job');
  const seconds_to_end = (performance.now() - since) / 1000;
  const line =
    said()
      .split('\n')
      .find((text) => text.includes('stopping and saving')) ?? '';
  if (line === '') lab.found.wrong.push(`warned by Slurm: it is not said: ${said().slice(-1000)}`);
  noteStopped(
    lab,
    {
      what: 'warned by Slurm',
      command: warning.replace(id, 'JOB'),
      run: 'runs/batch',
      bound: 60,
      saves: true,
    },
    { seconds_to_end, exit: state() ?? 'gone', line },
  );
  // A job that comes back into the queue waits two minutes there.
  await until(() => state() === 'PENDING' || undefined, 'the warned job in the queue again');
  run(['scontrol', 'update', `JobId=${id}`, 'StartTime=now'], place.env);
  await until(() => state() === 'COMPLETED' || undefined, 'the end of the job that goes on');
  const seconds = (performance.now() - from) / 1000;
  compare(lab, { what: 'batch job, warned, goes on', command, run: 'runs/batch', ranks: 2, seconds });
}

/** A sweep whose runs Slurm places, against one whose runs are processes of the sweep. */
async function sweep(lab: Lab): Promise<void> {
  const commands = {
    'runs/sweep-here': 'minillm sweep sweep.yaml --out runs/sweep-here',
    'runs/sweep':
      'salloc -n 2 minillm sweep sweep.yaml --out runs/sweep --parallel 2 --launcher "srun -n1 --exclusive"',
  };
  for (const command of Object.values(commands)) {
    lab.say(command);
    await finish(['sh', '-c', command], lab.place.env, lab.place.path);
  }
  const [here, launched] = Object.keys(commands).map((out) => inPlace(lab, out)) as [string, string];
  const runs = readdirSync(here, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('final/model.safetensors'))
    .map((name) => join(name, '../..'));
  for (const name of runs) {
    const differing = differingFiles(join(here, name), join(launched, name));
    if (differing.length > 0)
      lab.found.wrong.push(`sweep, ${name}: other bytes in ${differing.slice(0, 5).join(', ')}`);
  }
  if (runs.length !== 3) lab.found.wrong.push(`sweep: ${runs.length} runs, not 3`);
  lab.found.facts[commands['runs/sweep']] =
    `${runs.length} runs, compared with \`${commands['runs/sweep-here']}\``;
}

async function everything(lab: Lab): Promise<void> {
  await oneProcess(lab);
  const train = 'minillm train run.yaml --out';
  const direct = `srun --mpi=pmix -n 2 ${train} runs/srun`;
  await toTheEnd(lab, { what: 'srun', command: direct, run: 'runs/srun', ranks: 2 });
  const inside = `salloc -n 2 mpirun ${train} runs/salloc`;
  await toTheEnd(lab, { what: 'mpirun in an allocation', command: inside, run: 'runs/salloc', ranks: 2 });
  await warned(lab);
  await sweep(lab);
}

await runLaboratory({
  name: 'slurm',
  title: 'A Slurm of one node',
  unable: unableToStartSlurm,
  versions: () => ({ slurm: run([findProgram('slurmd')!, '-V'], process.env).trim() }),
  async work(lab) {
    Object.assign(lab.place.env, await startSlurm(join(lab.place.path, 'slurm'), lab.place.env));
    const offered = offeredMpi(lab.place.env);
    lab.found.facts['srun --mpi=list'] = offered.join(', ');
    if (!offered.includes('pmix'))
      throw new Error(`this Slurm starts no MPI by pmix (${offered.join(', ')})`);
    await everything(lab);
  },
});
