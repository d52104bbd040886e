/**
 * Hosts that are network namespaces of this machine: each has its own loopback, its own address and one link into a bridge.
 * What is done is a list of `ip` commands, so that a test can read it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface Host {
  name: string;
  address: string;
  /** Of its namespace. */
  namespace: string;
  /** The bridge's end of its link, which is cut. Its own end is called eth0. */
  link: string;
}

export interface Network {
  bridge: string;
  hosts: Host[];
}

/** In the range that is kept for benchmarks of networks (RFC 2544), which no real network uses. */
const SUBNET = '198.18.77';

/** @param lab a number that no other laboratory has now: this process's */
export function network(lab: number, count: number): Network {
  const hosts = Array.from({ length: count }, (_, i) => ({
    name: `host${i + 1}`,
    address: `${SUBNET}.${i + 1}`,
    namespace: `${prefix(lab)}host${i + 1}`,
    link: `lab${lab}h${i + 1}`, // 15 characters are the kernel's limit
  }));
  return { bridge: `lab${lab}br`, hosts };
}

/** Of the namespaces of a laboratory; agent.sh puts the host's name behind it. */
export const prefix = (lab: number): string => `lab${lab}-`;

export function upCommands({ bridge, hosts }: Network): string[][] {
  return [
    ['link', 'add', bridge, 'type', 'bridge'],
    ['link', 'set', bridge, 'up'],
    ...hosts.flatMap(({ namespace, link, address }) => [
      ['netns', 'add', namespace],
      ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace],
      ['link', 'set', link, 'master', bridge, 'up'],
      ['-n', namespace, 'addr', 'add', `${address}/24`, 'dev', 'eth0'],
      ['-n', namespace, 'link', 'set', 'eth0', 'up'],
      ['-n', namespace, 'link', 'set', 'lo', 'up'],
    ]),
  ];
}

/** The links before the namespaces: one lives as long as a process in it does, and would keep its link. */
export function downCommands({ bridge, hosts }: Network): string[][] {
  return [
    ...hosts.map(({ link }) => ['link', 'del', link]),
    ...hosts.map(({ namespace }) => ['netns', 'del', namespace]),
    ['link', 'del', bridge],
  ];
}

export const cutCommand = ({ link }: Host): string[] => ['link', 'set', link, 'down'];
export const mendCommand = ({ link }: Host): string[] => ['link', 'set', link, 'up'];

/** @throws Error with what `ip` says */
export function ip(args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export function up(net: Network): void {
  for (const command of upCommands(net)) ip(command);
}

/** Ends all that runs on the hosts, then takes them away. What is not there any more is passed over. */
export function down(net: Network): void {
  for (const { namespace } of net.hosts) endProcesses(namespace);
  for (const command of downCommands(net)) {
    try {
      ip(command);
    } catch {
      // Built in part, or taken away before.
    }
  }
}

/** Ends what is left on a host, as switching it off would. @returns how many processes that were */
export function endProcesses(namespace: string): number {
  let ended = 0;
  try {
    for (const pid of ip(['netns', 'pids', namespace]).split('\n').filter(Boolean)) {
      process.kill(Number(pid), 'SIGKILL');
      ended++;
    }
  } catch {
    // The namespace is gone, or the process is.
  }
  return ended;
}

/** Bytes that a host has sent over its link. */
export function bytesSent({ link }: Host): number {
  const [told] = JSON.parse(ip(['-s', '-j', 'link', 'show', link])) as {
    stats64: { rx: { bytes: number } };
  }[];
  return told!.stats64.rx.bytes; // what the bridge's end receives
}

/** Of the namespaces that there are, the laboratories whose process has ended without taking them away. */
export function leftovers(listed: string, alive: (pid: number) => boolean): number[] {
  const labs = [...listed.matchAll(/^lab(\d+)-host\d+/gm)].map(([, pid]) => Number(pid));
  return [...new Set(labs)].filter((pid) => !alive(pid));
}

export function removeLeftovers(count: number): void {
  for (const lab of leftovers(ip(['netns', 'list']), (pid) => existsSync(`/proc/${pid}`))) {
    down(network(lab, count));
  }
}
