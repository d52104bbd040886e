import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { permutation, stream } from '../../../src/random/streams.js';
import type { DiskOrder } from '../disk/child.js';
import type { Kind } from '../disk/faultyDisk.js';
import type { Failure, Part, Work } from '../part.js';

const CHILD = fileURLToPath(new URL('../disk/child.ts', import.meta.url));
const methods = [
  'minillm',
  'distillm',
  'sft',
  'seqkd',
  'kd',
  'babyllama',
  'gkd',
  'imitkd',
  'reverse-kd',
  'opd',
];
const kinds: readonly Kind[] = ['full', 'full after half a write', 'read-only'];

type Answer = { wrong: string | null } | { operations: Record<Kind, number[]> };

async function start(directory: string): Promise<ChildProcess> {
  const home = join(directory, 'home');
  mkdirSync(home, { recursive: true });
  const child = fork(CHILD, [directory], {
    execArgv: ['--import', import.meta.resolve('tsx')],
    env: { ...process.env, HOME: home, XDG_CACHE_HOME: home },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  await new Promise<void>((ready, failed) => {
    const onExit = (code: number | null): void =>
      failed(new Error(`the process of the runs ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', () => {
      child.off('exit', onExit);
      ready();
    });
  });
  return child;
}

function ask(child: ChildProcess, order: DiskOrder | { count: string }): Promise<Answer> {
  return new Promise((done, failed) => {
    const onExit = (code: number | null): void =>
      failed(new Error(`the process of the runs ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', (answer: Answer) => {
      child.off('exit', onExit);
      done(answer);
    });
    child.send(order);
  });
}

const whereOf = ({ method, kind, at }: DiskOrder): string => `${method}: ${kind} from operation ${at} on`;

/** Two processes at a time, where there are two processors. */
async function run(work: Work): Promise<void> {
  const places = Array.from({ length: Math.min(2, availableParallelism()) }, (_, i) => String(i));
  const children = await Promise.all(places.map((name) => start(join(work.directory, name))));
  try {
    // Method after method, each operation of each kind once, in a random order: a short campaign has seen some of everything.
    let before = 0;
    const ahead: number[] = [];
    for (const method of methods) {
      const answer = await ask(children[0]!, { count: method });
      if (!('operations' in answer)) throw new Error(answer.wrong ?? method);
      const orders = kinds.flatMap((kind) =>
        answer.operations[kind].map((at): DiskOrder => ({ method, kind, at })),
      );
      const order = permutation(orders.length, stream(work.seed, 'disk', method));
      const one = async (child: ChildProcess): Promise<void> => {
        // One at least: on a busy machine the time may be over before the runs that all others are compared with have ended.
        do {
          const n = ahead.shift() ?? work.take();
          if (n >= before + orders.length) return void ahead.push(n);
          await fail(child, work, n, orders[order[n - before]!]!);
          work.fact(`operations that failed (${method})`, `${n - before + 1} of ${orders.length}`);
        } while (!work.over());
      };
      await Promise.all(children.map(one));
      if (work.over()) return;
      before += orders.length;
    }
  } finally {
    for (const child of children) child.kill();
  }
}

async function fail(child: ChildProcess, work: Work, n: number, order: DiskOrder): Promise<void> {
  const answer = await ask(child, order);
  work.count('runs whose disk failed and that went on', 1);
  work.count(`· ${order.kind}`, 1);
  if ('wrong' in answer && answer.wrong) work.fail({ case: n, where: whereOf(order), what: answer.wrong });
}

async function again(work: Work, { where }: Failure): Promise<string | undefined> {
  const [, method, kind, at] = /^(\S+): (.+) from operation (\d+) on$/.exec(where)!;
  const child = await start(work.directory);
  try {
    const answer = await ask(child, { method: method!, kind: kind as Kind, at: Number(at) });
    return 'wrong' in answer ? (answer.wrong ?? undefined) : undefined;
  } finally {
    child.kill();
  }
}

export const disk: Part = {
  name: 'disk',
  what: `Runs whose disk fails at one of its operations and stays so, method after method as far as the time went (below): full (ENOSPC), full after half of a write, read-only
(EROFS). The run must end with one line that names the file or the run, every checkpoint that is there must be whole, and \`--resume\`
on the mended disk must come to the bytes of \`final/\`, \`best/\` and metrics.jsonl (but for times) of a run that nothing happened to.
The functions of Node's \`fs\` fail, below the run directory, in a process of their own; no real disk is filled.`,
  leavesOut: `methods that are not in the table; \`eval\`, \`export\`, sweeps and the caches, whose files are written by the same helpers; quotas and disks that lie.`,
  foundBefore: `Found by reading for this part, mended, and held by tests: a refused write ended with Node's own words and no file; a line of
metrics.jsonl of which a full disk took a half was taken for written; the lock file on a disk that had become read-only replaced the
error by its own.`,
  share: 1,
  run,
  again,
};
