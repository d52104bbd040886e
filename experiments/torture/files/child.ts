import { cpSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { Rng } from '../../../src/random/streams.js';
import { initBackend } from '../../../src/tensor/backend.js';
import { judge } from './judge.js';
import { Listing } from './listing.js';
import { quickStream } from './quickStream.js';
import { written } from './quiet.js';
import type { Attack } from './target.js';
import { targets } from './targets/index.js';
import { openWorld } from './world.js';

/** The cases that the campaign asks for, one after the other, in a process that may hang or die of them. */

export interface Order {
  seed: number;
  from: number;
  count: number;
  /** Of this kind only: a case that failed is done again whatever kinds have joined since. */
  target?: string;
}

export interface Wrong {
  case: number;
  where: string;
  what: string;
}

export interface Report {
  done: number;
  refused: number;
  byTarget: Record<string, number>;
  wrong: Wrong[];
  rss: number;
}

const root = process.argv[2]!;
const progress = openSync(join(root, 'progress'), 'w');
const total = targets.reduce((sum, { weight }) => sum + weight, 0);
const opened = new Map<string, (rng: Rng) => Attack>();
let stray: string | undefined;
for (const event of ['uncaughtException', 'unhandledRejection'] as const)
  process.on(event, (error) => {
    stray = `${event}: ${error instanceof Error ? `${error.name}: ${error.message.split('\n')[0]}` : error}`;
  });

await initBackend({ backend: 'cpu' });
const world = await openWorld(join(root, 'world'));
// What an index that leads out of its directory would find: weights that could be read.
cpSync(join(world.student, 'model.safetensors'), join(root, 'guard', 'secret.safetensors'));
for (const [i, { name, open }] of targets.entries())
  opened.set(name, await open(world, join(root, 'targets', String(i))));
const listing = new Listing(root);
process.send!('ready');

function targetOf(seed: number, n: number): string {
  let at = quickStream(seed, 'files', n)() * total;
  for (const { name, weight } of targets) {
    at -= weight;
    if (at < 0) return name;
  }
  return targets.at(-1)!.name;
}

function attackOf(name: string, seed: number, n: number): Attack {
  return opened.get(name)!(quickStream(seed, name, n));
}

/** One case. @returns whether it was refused, and what was wrong */
async function one(seed: number, n: number, name: string): Promise<{ refused: boolean; wrong?: Wrong }> {
  const attack = attackOf(name, seed, n);
  const tensors = tf.memory().numTensors;
  const wrong = (what: string): { refused: boolean; wrong: Wrong } => ({
    refused: false,
    wrong: { case: n, where: name, what },
  });
  stray = undefined;
  written();
  try {
    const ended = attack.run();
    if (ended instanceof Promise) await ended;
    const lines = written();
    if (stray) return wrong(stray);
    if (lines.length > 0) return wrong(`printed by itself: ${lines[0]!.slice(0, 160)}`);
    return leftOver(tensors, wrong) ?? { refused: false };
  } catch (error) {
    const what = stray ?? judge(error, attack.names);
    if (what) return wrong(what);
    return leftOver(tensors, wrong) ?? { refused: true };
  } finally {
    attack.restore?.();
  }
}

function leftOver<T>(before: number, wrong: (what: string) => T): T | undefined {
  const left = tf.memory().numTensors - before;
  return left > 0 ? wrong(`${left} tensors were left in memory`) : undefined;
}

const openFiles = (): number => readdirSync('/proc/self/fd').length;

process.on('message', async ({ seed, from, count, target }: Order) => {
  const report: Report = { done: 0, refused: 0, byTarget: {}, wrong: [], rss: 0 };
  const files = process.platform === 'linux' ? openFiles() : 0;
  for (let n = from; n < from + count; n++) {
    const name = target ?? targetOf(seed, n);
    writeSync(progress, `${String(n).padStart(15)} ${name.padEnd(80)}`, 0);
    const { refused, wrong } = await one(seed, n, name);
    report.done++;
    report.byTarget[name] = (report.byTarget[name] ?? 0) + 1;
    if (refused) report.refused++;
    if (wrong) report.wrong.push(wrong);
  }
  const at = { case: from, where: `cases ${from} to ${from + count - 1}` };
  for (const what of listing.changes()) report.wrong.push({ ...at, what });
  // Kinds that are opened keep a few files; each is opened once.
  if (process.platform === 'linux' && openFiles() > files + 20)
    report.wrong.push({ ...at, what: `${openFiles() - files} files were left open` });
  report.rss = process.memoryUsage.rss();
  process.send!(report);
});
