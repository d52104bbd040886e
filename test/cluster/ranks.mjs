// One of the processes that mpi.test.ts starts under mpirun: does what the argument says. `.compiled` is made before the tests.
import { readFileSync, writeFileSync } from 'node:fs';
import { endOfRank } from '../../.compiled/cluster/ending.js';
import { joinCluster } from '../../.compiled/cluster/launched.js';

const [what, file] = process.argv.slice(2);

/** Numbers that say whose they are. */
function bytes(length, seed) {
  const all = new Uint8Array(length);
  for (let i = 0; i < length; i++) all[i] = i * 31 + (i >> 12) + seed;
  return all;
}
const same = (a, b) => Buffer.compare(a, b) === 0;
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const scenes = {
  /** What was wrong, by all ranks; nothing when all is right. */
  talk(cluster) {
    const { rank, size } = cluster;
    const wrong = [];
    const loaded = readFileSync('/proc/self/maps', 'utf8').includes('/mpi.node');
    if (size === 1) return console.log(JSON.stringify({ size, loaded }));
    const check = (right, name) => right || wrong.push(`rank ${rank}: ${name}`);
    for (const length of [0, 1, 4 * 2 ** 20, size === 2 ? 40_000_001 : 9_000_000]) {
      const partner = rank ^ 1;
      const into = new Uint8Array(length);
      cluster.exchange(partner, bytes(length, rank), into).wait();
      check(same(into, bytes(length, partner)), `exchange of ${length} bytes`);
    }
    // Several under way with every other rank, waited for in another order; what goes and what comes differ in length.
    const under = [];
    for (let k = 0; k < 3; k++)
      for (let partner = 0; partner < size; partner++) {
        if (partner === rank) continue;
        const length = (from) => 9_000_000 * (k % 2) + 1000 * from + k;
        const into = new Uint8Array(length(partner));
        const exchange = cluster.exchange(partner, bytes(length(rank), rank + k), into);
        under.push({ exchange, into, expected: bytes(length(partner), partner + k) });
      }
    for (const { exchange, into, expected } of under.reverse()) {
      exchange.wait();
      check(same(into, expected), `exchange of ${expected.length} bytes, several under way`);
    }
    for (const lengthOf of [(r) => 8 * r, (r) => (r % 2 ? 0 : 5), (r) => 3_000_000 * r + 1]) {
      const all = cluster.gather(bytes(lengthOf(rank), rank));
      check(all.length === size, 'gather: parts');
      all.forEach((part, r) => {
        check(same(part, bytes(lengthOf(r), r)), `gather: part ${r}`);
        check(part.byteOffset % 8 === 0, `gather: part ${r} can be looked at as numbers`);
      });
    }
    for (const length of [0, 7, 10_000_000]) {
      const own = bytes(rank === 0 ? length : 3, rank + length);
      check(same(cluster.broadcast(own), bytes(length, length)), `broadcast of ${length} bytes`);
    }
    cluster.barrier();
    const began = Date.now();
    if (rank === size - 1) sleep(300);
    cluster.barrier();
    const left = new Float64Array([began, Date.now()]);
    const times = cluster
      .gather(new Uint8Array(left.buffer))
      .map((one) => new Float64Array(one.buffer, one.byteOffset, 2));
    check(
      Math.max(...times.map(([from]) => from)) <= Math.min(...times.map(([, to]) => to)),
      'barrier waits for all',
    );
    const all = cluster
      .gather(Buffer.from(JSON.stringify(wrong)))
      .flatMap((one) => JSON.parse(Buffer.from(one)));
    if (rank === 0) console.log(JSON.stringify({ size, loaded, hosts: cluster.hosts, wrong: all }));
  },
  /** Waiting burns no core. */
  idle(cluster) {
    const before = process.cpuUsage();
    if (cluster.rank === 1) sleep(2000);
    cluster.barrier();
    const { user, system } = process.cpuUsage(before);
    if (cluster.rank === 0) console.log(JSON.stringify({ busy: (user + system) / 1e6 }));
  },
  /** Rank 1 is there and never answers. */
  silent(cluster) {
    if (cluster.rank === 1) sleep(60_000);
    cluster.barrier();
  },
  killed(cluster) {
    if (cluster.rank === 1) process.kill(process.pid, 'SIGKILL');
    cluster.barrier();
  },
  /** An error of rank 1 alone. */
  failing(cluster) {
    if (cluster.rank === 1) throw Object.assign(new Error('the disk is\nfull'), { code: 3 });
    cluster.barrier();
  },
  allFailing() {
    throw Object.assign(new Error('no such file'), { code: 2 });
  },
  uncaught(cluster) {
    setImmediate(() => {
      if (cluster.rank === 1) Promise.reject(new Error('nobody caught this'));
      else cluster.barrier();
    });
  },
  /** Ends with a code of its own, rank 0 after the others. */
  stopped(cluster) {
    if (cluster.rank === 0) {
      sleep(1500);
      writeFileSync(file, 'saved');
    }
    process.exitCode = 130;
  },
  /** Lengths that do not agree. */
  unequal(cluster) {
    const into = new Uint8Array(cluster.rank === 0 ? 10 : 20);
    cluster.exchange(cluster.rank ^ 1, new Uint8Array(20), into).wait();
  },
};

const cluster = await joinCluster({ rankTimeout: what === 'silent' ? 1 : 60 }).catch((error) => {
  console.error(`minillm: ${error.message}`);
  process.exit(2);
});
try {
  scenes[what](cluster);
} catch (error) {
  endOfRank(cluster, error.message, error.code ?? 1);
}
