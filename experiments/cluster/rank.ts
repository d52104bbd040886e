/** One process of measure.ts, started by it alone or by mpirun as one of several; rank 0 prints what was measured. */
import { joinCluster } from '../../src/cluster/launched.js';
import type { Network } from '../../src/plan/network.js';
import type { RanksTime } from '../../src/plan/ranks.js';
import { initBackend } from '../../src/tensor/backend.js';
import { networkHere, type PieceName, planned, prepare, Watched } from './work.js';

export interface RankRequest {
  piece: PieceName;
  shards: number;
  threads: number;
  /** Measured runs, after one that does not count. */
  repeat: number;
  /** Whether to plan the same first, with speeds measured while all ranks measure. */
  plan: boolean;
}

export interface RankResult {
  ranks: number;
  /** Of every run, and of it waiting for messages, at rank 0. */
  seconds: number[];
  waited: number[];
  /** Every part of the work as quick as it ever was, added up: what it takes when nobody else wants the machine. */
  quickest: number;
  /** Processor time of all runs and ranks together, for machines with other work. */
  cpu_s: number;
  /** The most that each rank has used. */
  rss_mb: number[];
  network: Network;
  planned: RanksTime[] | null;
}

const { piece, shards, threads, repeat, plan } = JSON.parse(process.argv[2]!) as RankRequest;
const cluster = new Watched(await joinCluster());
const backend = await initBackend({ backend: 'tensorflow', threads });
const network = networkHere(cluster);
const work = await prepare(piece, shards, cluster);
const best = work.map(() => Number.POSITIVE_INFINITY);
for (const part of work) await part();
const times = plan ? planned(piece, shards, backend, network) : null;
const [seconds, waited]: [number[], number[]] = [[], []];
const begun = process.cpuUsage();
for (let i = 0; i < repeat; i++) {
  cluster.barrier();
  const [from, before] = [performance.now(), cluster.waited];
  for (const [k, part] of work.entries()) {
    const began = performance.now();
    await part();
    best[k] = Math.min(best[k]!, (performance.now() - began) / 1000);
  }
  seconds.push((performance.now() - from) / 1000);
  waited.push(cluster.waited - before);
}
const { user, system } = process.cpuUsage(begun);
const steps = work.length > 1 && best[0]! > 2 * best[1]! ? best.slice(1) : best; // a round begins with its rollouts
const quickest =
  best.slice(0, best.length - steps.length).reduce((sum, s) => sum + s, 0) +
  steps.length * Math.min(...steps);
const own = new Float64Array([process.resourceUsage().maxRSS / 1024, (user + system) / 1e6]);
const all = cluster
  .gather(new Uint8Array(own.buffer))
  .map((bytes) => [...new Float64Array(bytes.slice().buffer)]);
if (cluster.rank === 0) {
  const result: RankResult = {
    ...{ ranks: cluster.size, seconds, waited, quickest, network, planned: times },
    cpu_s: all.reduce((sum, [, cpu]) => sum + cpu!, 0),
    rss_mb: all.map(([rss]) => Math.round(rss!)),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
