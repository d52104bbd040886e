import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { integer, type Rng, stream } from '../../../src/random/streams.js';
import {
  difference,
  digestsOf,
  type Ended,
  openRunWorld,
  placeOfDeath,
  type RunWorld,
  train,
} from '../faults/runs.js';
import { breaches, readTrace } from '../faults/traceOrder.js';
import type { Part, Work } from '../part.js';

/** Runs that are killed at the same time, beside one another. */
const LANES = 4;

/** A run that nobody interrupted. */
interface Whole {
  digests: Map<string, string>;
  operations: number;
  milliseconds: number;
  breaches: string[];
}

export const kill: Part = {
  name: 'kill',
  what: `Small runs of every method (6 steps, a validation every 3, a checkpoint every 2) are ended by SIGKILL one to six times and
resumed each time, then left to end. Every file of the run, students and checkpoints and metrics (without \`wall_s\`) and samples, must then
have the SHA-256 of the run that nobody interrupted, and nothing may be left over. A quarter of the kills come at a random time. The others
come at a random operation on a file, out of about 800 in a run: before it, after it, in the middle of a write, or together with a loss of
power, in which bytes and names that were not synced disappear (whole, in part, or as zeros), the last ones of a directory first.
The trace of every uninterrupted run must show that all that a rename makes valid is synced before it, the directory after it, and
all that a checkpoint builds on before the checkpoint.`,
  leavesOut: `disks that lie about what they synced; a loss of power is modelled on real files, not on a device. TensorBoard files are
not synced, and may lose their end.`,
  share: 4,

  async run(work) {
    const torment = await begin(work);
    const lane = async (): Promise<void> => {
      while (!work.over()) {
        const n = work.take();
        const { where, wrong } = await torment(n);
        if (wrong) work.fail({ case: n, where, what: wrong });
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  },

  async again(work, { case: n }) {
    const { wrong } = await (await begin(work))(n);
    return wrong;
  },
};

type Outcome = { where: string; wrong: string | undefined };

/** @returns what does case n; a run that nobody interrupts is made once for each configuration */
async function begin(work: Work): Promise<(n: number) => Promise<Outcome>> {
  const world = await openRunWorld(work.directory);
  const wholes = new Map<string, Promise<Whole>>();
  return async (n) => {
    const variant = world.variants[n % world.variants.length]!;
    const known = wholes.get(variant.name) ?? wholeRun(world, variant.config, variant.name);
    wholes.set(variant.name, known);
    const whole = await known;
    if (whole.breaches.length > 0) return { where: variant.name, wrong: whole.breaches[0] };
    const place = join(world.path, `case-${n}`);
    mkdirSync(place, { recursive: true });
    const wrong = await killed(work, variant.config, place, whole, stream(work.seed, 'kill', n));
    rmSync(place, { recursive: true, force: true });
    work.count('runs ended after their kills');
    if (!wrong) work.count('runs with the bytes of the uninterrupted one');
    return { where: variant.name, wrong };
  };
}

async function wholeRun(world: RunWorld, config: string, name: string): Promise<Whole> {
  const out = join(world.path, 'whole', name.replaceAll(/\W+/g, '-'));
  const trace = `${out}.trace.json`;
  mkdirSync(join(world.path, 'whole'), { recursive: true });
  const started = performance.now();
  const ended = await train(config, out, { trace });
  if (ended.code !== 0) throw new Error(`${name}: the uninterrupted run failed: ${ended.stderr}`);
  const operations = readTrace(trace);
  return {
    digests: digestsOf(out),
    operations: operations.length,
    milliseconds: performance.now() - started,
    breaches: breaches(operations),
  };
}

/** Kills a run a few times, lets it end, compares. @returns what is wrong */
async function killed(
  work: Work,
  config: string,
  place: string,
  whole: Whole,
  rng: Rng,
): Promise<string | undefined> {
  const out = join(place, 'run');
  const kills = 1 + integer(rng, 6);
  for (let i = 0; i < kills; i++) {
    const { how, ended } = await oneKill(config, place, whole, rng);
    if (ended.signal === 'SIGKILL') {
      work.count('kills');
      work.count(`kills: ${how}`);
    } else if (ended.code !== 0) return `resumed after ${i} kills: exit code ${ended.code}: ${ended.stderr}`;
  }
  const last = await train(config, out);
  if (last.code !== 0) return `resumed after ${kills} kills: exit code ${last.code}: ${last.stderr}`;
  const differs = difference(whole.digests, out);
  if (differs.length > 0) return `after ${kills} kills other bytes: ${differs.slice(0, 5).join(', ')}`;
  const left = readdirSync(place).filter((name) => name.startsWith('.run'));
  return left.length > 0 ? `left beside the run: ${left.join(', ')}` : undefined;
}

async function oneKill(
  config: string,
  place: string,
  whole: Whole,
  rng: Rng,
): Promise<{ how: string; ended: Ended }> {
  const out = join(place, 'run');
  const [form, moment, seed] = [rng(), rng(), integer(rng, 2 ** 31)];
  if (form < 0.25) {
    const ended = await train(config, out, undefined, (child) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), moment * whole.milliseconds);
      child.on('exit', () => clearTimeout(timer));
    });
    return { how: 'at a random time', ended };
  }
  const how = (['before', 'after', 'torn', 'power'] as const)[Math.floor((form - 0.25) / 0.1875)]!;
  const files = { killed: join(place, 'killed.json'), shadow: join(place, 'shadow') };
  // A resumed run has fewer operations left than a whole one.
  const at = 1 + Math.floor(moment * 0.7 * whole.operations);
  const ended = await train(config, out, { at, how, seed, ...files });
  const { op = '', lost = 0 } = placeOfDeath(files.killed) ?? {};
  rmSync(files.shadow, { recursive: true, force: true });
  const told = {
    before: `before a ${op}`,
    after: `after a ${op}`,
    torn: 'in the middle of a write',
    power: lost > 0 ? 'with a loss of power, unsynced things lost' : 'with a loss of power, all synced',
  };
  return { how: told[how], ended };
}
