import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { readTrainConfig } from '../../../src/runs/runConfig.js';
import { runTraining } from '../../../src/runs/train.js';
import { initBackend } from '../../../src/tensor/backend.js';
import { methodNames } from '../../../src/training/config.js';
import { judge } from '../files/judge.js';
import { written } from '../files/quiet.js';
import { openWorld, trainFields } from '../files/world.js';
import { failFrom, type Kind, wellAgain } from './faultyDisk.js';

/** Runs whose disk fails at a given operation, and that go on when it is well again. */

export interface DiskOrder {
  method: string;
  kind: Kind;
  at: number;
}

const root = process.argv[2]!;
const backend = await initBackend({ backend: 'cpu' });
const world = await openWorld(join(root, 'world'));
const configs = join(root, 'configs');
mkdirSync(configs, { recursive: true });
for (const method of methodNames) {
  const fields: Record<string, unknown> = {
    ...trainFields(world, method),
    train: { steps: 2, batch_size: 2, lr: 0.01 },
    eval: { every: 2 },
    checkpoint: { every: 1, keep: 2 },
  };
  if (method === 'babyllama') fields.teacher = [world.teacher, world.teacher];
  writeFileSync(join(configs, `${method}.yaml`), stringify(fields));
}

/** What must be the same of two runs: final/, best/ and the metrics but for the time. */
function resultOf(out: string): string {
  const hash = createHash('sha256');
  for (const directory of ['final', 'best']) {
    for (const name of readdirSync(join(out, directory)).sort())
      hash.update(name).update(readFileSync(join(out, directory, name)));
  }
  const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8').replaceAll(/"wall_s":[^,}]*/g, '');
  return hash.update(rows).digest('hex').slice(0, 16);
}

/** The files of every checkpoint, by its name. */
function checkpoints(out: string): Map<string, string> {
  const at = join(out, 'checkpoints');
  const found = new Map<string, string>();
  const names = safely(() => readdirSync(at).filter((name) => /^\d+$/.test(name))) ?? [];
  for (const name of names) {
    const hash = createHash('sha256');
    const files = readdirSync(join(at, name), { recursive: true, encoding: 'utf8' }).sort();
    for (const file of files) {
      const bytes = safely(() => readFileSync(join(at, name, file)));
      if (bytes) hash.update(file).update(bytes);
    }
    found.set(name, hash.digest('hex'));
  }
  return found;
}

function safely<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** As the command does it, but for the report. @returns what it says in the end, nothing if it went well */
async function train(method: string, out: string, resume = false): Promise<Error | undefined> {
  const config = await readTrainConfig(join(configs, `${method}.yaml`), []);
  written();
  try {
    await runTraining(config, out, { resume, backend, log: () => {}, quiet: true, stopping: () => false });
  } catch (error) {
    return error as Error;
  }
  const lines = written();
  return lines.length > 0 ? new Error(`printed ${lines[0]}`) : undefined;
}

interface Whole {
  result: string;
  checkpoints: Map<string, string>;
  /** The numbers of those at which each kind is worth a run: half a write only where there is one. */
  operations: Record<Kind, number[]>;
}
const wholes = new Map<string, Whole>();

/** The run that nothing happens to, with as many checkpoints as it writes. */
async function wholeOf(method: string): Promise<Whole> {
  const known = wholes.get(method);
  if (known) return known;
  const out = join(root, 'runs', `${method}-whole`);
  const operations: Record<Kind, number[]> = { full: [], 'full after half a write': [], 'read-only': [] };
  for (const kind of ['full', 'read-only'] as const) {
    rmSync(out, { recursive: true, force: true });
    failFrom(out, Number.POSITIVE_INFINITY, kind);
    const ended = await train(method, out);
    const seen = wellAgain();
    operations[kind] = Array.from({ length: seen.operations }, (_, i) => i + 1);
    if (kind === 'full') operations['full after half a write'] = seen.writesAt;
    if (ended) throw new Error(`${method}: ${ended.message}`);
  }
  const whole = { result: resultOf(out), checkpoints: checkpoints(out), operations };
  wholes.set(method, whole);
  return whole;
}

/** @returns what is wrong, nothing if all is right */
async function attack({ method, kind, at }: DiskOrder): Promise<string | undefined> {
  const whole = await wholeOf(method);
  const out = join(root, 'runs', 'it');
  rmSync(out, { recursive: true, force: true });
  rmSync(join(root, 'runs', '.it.pid'), { force: true });
  failFrom(out, at, kind);
  const ended = await train(method, out);
  const { failed } = wellAgain();
  const told = `${failed} failed`;
  if (failed === '') return ended && `nothing had failed, and it ended with ${ended.message}`;
  if (!ended) return `${told}, and the run ended as if nothing had happened`;
  const bad = judge(ended, [out]);
  if (bad) return `${told}: ${bad}`;
  for (const [step, digest] of checkpoints(out)) {
    const expected = whole.checkpoints.get(step);
    if (expected !== undefined && expected !== digest) return `${told}: checkpoint ${step} is not whole`;
  }
  // The process that held the place has ended, in a real run.
  rmSync(join(root, 'runs', '.it.pid'), { force: true });
  const again = await train(method, out, true);
  if (again) return `${told}; --resume: ${again.message.slice(0, 300)}`;
  if (resultOf(out) !== whole.result) return `${told}; --resume came to other bytes`;
  const left = readdirSync(out, { recursive: true, encoding: 'utf8' }).find((name) => /\.tmp/.test(name));
  return left === undefined ? undefined : `${told}; ${left} was left after --resume`;
}

process.on('message', async (order: DiskOrder | { count: string }) => {
  try {
    if ('count' in order) process.send!({ operations: (await wholeOf(order.count)).operations });
    else process.send!({ wrong: (await attack(order)) ?? null });
  } catch (error) {
    wellAgain();
    process.send!({ wrong: `the part itself: ${(error as Error).message}` });
  }
});
process.send!('ready');
