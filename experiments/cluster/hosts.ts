/**
 * Three hosts on this machine, and runs across them.
 *
 *     npm run cluster:hosts
 *
 * Options: --results DIR (default experiments/cluster/results), --minillm COMMAND (default the sources of this repository). It needs root,
 * `ip netns` and Open MPI; where one is missing it says so and leaves. Exit code 1 when something is not as it must be.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Ending, endInMiddle, type Lab, oneProcess, runLaboratory, toTheEnd } from './laboratory.js';
import { unableToBuildHosts } from './machine.js';
import {
  bytesSent,
  cutCommand,
  down,
  endProcesses,
  type Host,
  ip,
  mendCommand,
  type Network,
  network,
  prefix,
  removeLeftovers,
  up,
} from './network.js';

const AGENT = fileURLToPath(new URL('agent.sh', import.meta.url));
const HOSTS = 3;
const RANK_TIMEOUT_S = 20;

/** What a real cluster with ssh and one network does without: the launch agent, which network, and cores that all hosts share. */
const labSettings = (lab: number) => ({
  LAB_PREFIX: prefix(lab),
  OMPI_MCA_plm_rsh_agent: `sh ${AGENT}`,
  OMPI_MCA_btl: 'tcp,self',
  OMPI_MCA_btl_tcp_if_include: 'eth0',
  OMPI_MCA_oob_tcp_if_include: 'eth0',
  OMPI_MCA_hwloc_base_binding_policy: 'none',
});

/** Open MPI's own watch over its daemons: one that has been silent for 5 s is asked three times, then the job ends. */
const KEEPALIVE =
  '--mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3';

/** The words that run a command on the first host, where mpirun is typed. */
const onFirst = (command: string): string[] => ['sh', AGENT, 'host1', `exec ${command}`];

const acrossHosts = (lab: Lab, what: string, command: string, run: string, ranks: number): Promise<void> =>
  toTheEnd(lab, { what, command, run, ranks }, onFirst(command));

/** Ends a run that goes on across host1 and host2. */
async function end(lab: Lab, { hosts }: Network, ending: Ending): Promise<void> {
  try {
    await endInMiddle(lab, ending, onFirst(ending.command));
  } finally {
    // What is left on a host that nobody reaches must not go on when its link is back.
    const left = hosts.map(({ namespace }) => endProcesses(namespace));
    lab.found.facts[`${ending.what}: processes left on the hosts`] = left.join(', ');
    ip(mendCommand(hosts[1]!));
  }
}

/** How often a host's kernel sends again what nobody confirms before it gives a connection up. The default, 15, is a quarter of an hour. */
function giveUpAfter({ namespace }: Host, retries: number): void {
  const write = `echo ${retries} > /proc/sys/net/ipv4/tcp_retries2`;
  execFileSync('ip', ['netns', 'exec', namespace, 'sh', '-c', write]);
}

async function everything(lab: Lab, net: Network): Promise<void> {
  const train = 'minillm train run.yaml --out';
  const cut = () => void ip(cutCommand(net.hosts[1]!));
  await oneProcess(lab);

  const before = net.hosts.map(bytesSent);
  const two = `mpirun --host host1,host2 -np 2 ${train} runs/two`;
  await acrossHosts(lab, 'two hosts', two, 'runs/two', 2);
  const sent = net.hosts.map((host, i) => Math.round((bytesSent(host) - before[i]!) / 1000));
  lab.found.facts['two hosts: kB sent by host1, host2, host3'] = sent.join(', ');
  const four = `mpirun --host host1:2,host2:1,host3:1 -np 4 ${train} runs/four`;
  await acrossHosts(lab, 'three hosts', four, 'runs/four', 4);

  await end(lab, net, {
    ...{
      what: 'SIGUSR1 to mpirun',
      command: `mpirun --host host1,host2 -np 2 ${train} runs/stop`,
      run: 'runs/stop',
    },
    act: (pid) => process.kill(pid, 'SIGUSR1'),
    ...{ line: /^.*stopping and saving.*$/m, bound: 60, saves: true },
  });
  await acrossHosts(lab, 'goes on, three hosts', `${four.replace('four', 'stop')} --resume`, 'runs/stop', 4);

  // SIGTERM comes to the ranks ten seconds later, when the run that the others do would be over.
  const patient = 'mpirun --mca odls_base_sigkill_timeout 10 --host host1,host2 -np 2';
  await end(lab, net, {
    what: 'SIGTERM to mpirun',
    command: `${patient} ${train.replace(' --out', ' --set train.steps=200 --out')} runs/term`,
    run: 'runs/term',
    act: (pid) => process.kill(pid, 'SIGTERM'),
    ...{ line: /^.*stopping and saving.*$/m, bound: 60, saves: true },
  });

  await end(lab, net, {
    what: 'host2 lost, mpirun notices',
    command: `mpirun ${KEEPALIVE} --host host1,host2 -np 2 ${train} runs/lost`,
    run: 'runs/lost',
    ...{
      act: cut,
      line: /ORTE has lost communication.*?on node \S+\s.*?on node \S+/s,
      bound: 15,
      saves: false,
    },
  });
  await acrossHosts(lab, 'goes on, one process', `${train} runs/lost --resume`, 'runs/lost', 1);

  for (const host of net.hosts) giveUpAfter(host, 4);
  await end(lab, net, {
    what: 'host2 lost, rank 0 waits',
    command: `mpirun --host host1,host2 -np 2 ${train} runs/waits --rank-timeout ${RANK_TIMEOUT_S}`,
    run: 'runs/waits',
    ...{ act: cut, line: /^.*waited.*rank 1.*$/m, bound: RANK_TIMEOUT_S + 20, saves: false },
  });
  const others = `mpirun --host host1,host3 -np 2 ${train} runs/waits --resume`;
  await acrossHosts(lab, 'goes on, host1 and host3', others, 'runs/waits', 2);
}

await runLaboratory({
  name: 'hosts',
  title: 'Three hosts on one machine',
  unable: unableToBuildHosts,
  versions: () => ({}),
  async work(lab, atEnd) {
    removeLeftovers(HOSTS);
    const net = network(process.pid, HOSTS);
    atEnd(() => down(net));
    up(net);
    Object.assign(lab.place.env, labSettings(process.pid));
    await everything(lab, net);
  },
});
