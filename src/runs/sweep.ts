import { appendFileSync, existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunError, UsageError } from '../errors.js';
import type { TrainConfig } from '../training/config.js';
import { isRead } from '../training/fields.js';
import { writeFileAtomic } from './atomic.js';
import { type ChildRun, runChildren } from './childRuns.js';
import { claim } from './claim.js';
import { identityOf, whereabouts } from './processIdentity.js';
import { createProgress } from './progress.js';
import { stringifyConfig } from './runConfig.js';
import { runPaths } from './runDirectory.js';
import { type Sweep, type SweepRun, VARIANT } from './sweepConfig.js';
import {
  beginEvaluation,
  evaluationArguments,
  isEvaluated,
  type Measured,
  measuredRun,
  referencesOf,
} from './sweepEvaluation.js';
import { type ReferenceOutcome, type SweepOutcome, spent } from './sweepResults.js';

export type { SweepOutcome };

import { withOneStudent } from './sweepStudent.js';

export interface SweepOptions {
  out: string;
  /** Flags handed to every run (`--backend`, ...). */
  flags: string[];
  /** Runs at a time. */
  parallel: number;
  /** Words of a command that starts every run and evaluation (launcher.ts). */
  launcher?: readonly string[] | undefined;
  quiet: boolean;
  log: (line: string) => void;
  /** True once Ctrl-C was pressed. */
  stopping: () => boolean;
}

export interface SweepOutcomes {
  /** The teachers and starting students that the runs are compared with. */
  references: ReferenceOutcome[];
  runs: SweepOutcome[];
}

/**
 * Runs every configuration of a sweep in a process of its own, some at a time, in OUT/<name>; its words go to
 * OUT/logs/<name>.log. A finished run is not repeated, an unfinished one goes on from its checkpoint; a run that fails does
 * not stop the others. A student given as a shape is made once and all runs start from it.
 *
 * @throws UsageError when OUT holds runs of other configurations or another sweep works there; RunError (130) after Ctrl-C
 */
export async function runSweep(sweep: Sweep, options: SweepOptions): Promise<SweepOutcomes> {
  const { out } = options;
  for (const place of ['logs', 'configs']) await mkdir(join(out, place), { recursive: true });
  const release = await claim(pidFile(out, 'sweep'), out, 'runs a sweep there');
  try {
    return await runAll(sweep, options);
  } finally {
    await release();
  }
}

async function runAll(sweep: Sweep, options: SweepOptions): Promise<SweepOutcomes> {
  const { out, log } = options;
  const runs = await withOneStudent(sweep, out);
  for (const run of runs) await checkSame(run, out);
  for (const line of new Set(runs.flatMap(({ config: { method } }) => idleAxes(sweep, method)))) log(line);
  const outcomes = runs.map((run): SweepOutcome => ({ run, directory: join(out, run.name) }));
  const done = await Promise.all(outcomes.map((outcome) => isDone(outcome, sweep, out)));
  const open = outcomes.filter((_, i) => !done[i]);
  const count = (n: number): string => `${n} run${n === 1 ? '' : 's'}`;
  log(
    `${count(runs.length)}, ${runs.length - open.length} done already, ${Math.min(options.parallel, open.length)} at a time`,
  );
  const progress = watch(outcomes, sweep, options.quiet);
  const references = referencesOf(runs, sweep, out).map((measured): ReferenceOutcome => ({ measured }));
  const jobs: Job[] = [
    ...references.map((outcome) => ({
      name: outcome.measured.name,
      outcome,
      parts: () => unmeasured(outcome.measured, sweep, options),
    })),
    ...open.map((outcome) => ({
      name: outcome.run.name,
      outcome,
      parts: () => partsOf(outcome, sweep, options),
    })),
  ];
  const next = jobs.values();
  const worker = async (): Promise<void> => {
    for (const job of next) {
      if (options.stopping()) return;
      const parts = await job.parts();
      if (parts.length === 0) continue;
      progress.begin(job.name);
      await runJob(job, parts, options);
      if (options.stopping()) return;
      progress.end(job.name, job.outcome.error);
    }
  };
  try {
    await Promise.all(Array.from({ length: options.parallel }, worker));
  } finally {
    progress.finish();
  }
  if (options.stopping()) throw new RunError('stopped; the same command goes on', 130);
  return { references, runs: outcomes };
}

/** One place in the queue: what it is called, where an error goes, and the commands that are left to do. */
interface Job {
  name: string;
  outcome: { error?: string };
  parts: () => Promise<ChildRun[]>;
}

async function unmeasured(measured: Measured, sweep: Sweep, options: SweepOptions): Promise<ChildRun[]> {
  if (await isEvaluated(measured, options.out)) return [];
  await beginEvaluation(measured, options.out);
  return [{ label: measured.name, args: await evaluationArguments(measured, sweep.evaluate!, options) }];
}

async function partsOf(
  { run, directory }: SweepOutcome,
  sweep: Sweep,
  options: SweepOptions,
): Promise<ChildRun[]> {
  const { out, flags } = options;
  const config = join(out, 'configs', `${run.name}.yaml`);
  await writeFileAtomic(config, stringifyConfig(run.config));
  const parts: ChildRun[] = [];
  if (!isTrained(directory)) {
    const args = ['train', config, '--out', directory, '--resume', '--json', ...flags];
    parts.push({ label: run.name, args, claim: runPaths(directory).process });
  }
  if (sweep.evaluate) {
    const measured = measuredRun(run, directory, sweep.evaluate);
    await beginEvaluation(measured, out);
    parts.push({ label: run.name, args: await evaluationArguments(measured, sweep.evaluate, options) });
  }
  return parts;
}

async function runJob(
  { name, outcome }: Job,
  parts: readonly ChildRun[],
  options: SweepOptions,
): Promise<void> {
  const { out } = options;
  const logFile = join(out, 'logs', `${name}.log`);
  try {
    await waitForOrphan(out, name);
    for (const part of parts) {
      await runChildren([part], 1, (line) => appendFileSync(logFile, `${line.slice(name.length).trim()}\n`), {
        onStart: (pid) => writeFile(pidFile(out, name), identityOf(pid)),
        stopping: options.stopping,
        launcher: options.launcher,
      });
    }
  } catch (error) {
    outcome.error = `failed: ${(error as Error).message.replace(`${name}: `, '')}`;
  } finally {
    await rm(pidFile(out, name), { force: true });
  }
}

async function isDone({ run, directory }: SweepOutcome, sweep: Sweep, out: string): Promise<boolean> {
  if (!isTrained(directory)) return false;
  return !sweep.evaluate || isEvaluated(measuredRun(run, directory, sweep.evaluate), out);
}

function isTrained(directory: string): boolean {
  const { final } = runPaths(directory);
  return ['config.json', 'adapter_config.json'].some((name) => existsSync(join(final, name)));
}

/** @throws UsageError when the directory of a run holds another one, finished or not */
async function checkSame({ name, config }: SweepRun, out: string): Promise<void> {
  const directory = join(out, name);
  // With epochs, the configuration that the run was given: what it resolved them to depends on the data.
  const given = config.train.epochs !== undefined && existsSync(directory);
  const file = given ? join(out, 'configs', `${name}.yaml`) : runPaths(directory).config;
  const there = await readFile(file, 'utf8').catch(() => undefined);
  if (there === undefined || there === stringifyConfig(config)) return;
  throw new UsageError(
    `${join(out, name)}: was made with another configuration; use another --out, or delete it to run it again`,
  );
}

/** A grid over `gkd.beta` trains `kd` several times to the same end. */
function idleAxes({ axes }: Sweep, method: TrainConfig['method']): string[] {
  return axes
    .filter((axis) => axis !== VARIANT && !isRead(axis, method))
    .map((axis) => `note: ${method} does not read ${axis}; its runs differ in name only`);
}

function pidFile(out: string, name: string): string {
  return join(out, 'logs', `${name}.pid`);
}

/** A run whose sweep was killed saves and ends by itself (cli/main.ts); two must not write into one directory. */
async function waitForOrphan(out: string, name: string): Promise<void> {
  const text = await readFile(pidFile(out, name), 'utf8').catch(() => '');
  const { pid } = whereabouts(text);
  for (let waited = 0; whereabouts(text).now === 'running'; waited++) {
    if (waited === 600) throw new RunError(`process ${pid} of an earlier sweep still runs; end it first`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** One progress line for all runs: how much of the budget is used, read from their logs, and what is running. */
function watch(outcomes: readonly SweepOutcome[], { budget }: Sweep, quiet: boolean) {
  const share = ({ run: { config } }: SweepOutcome): number =>
    budget.amount ?? (config.train.epochs === undefined ? config.train.steps : Number.POSITIVE_INFINITY);
  const done = (): number =>
    outcomes.reduce(
      (sum, outcome) => sum + Math.min(share(outcome), spent(outcome.directory, budget.kind)),
      0,
    );
  const all = outcomes.reduce((sum, outcome) => sum + share(outcome), 0);
  const total = Number.isFinite(all) ? { total: all } : {}; // epochs are steps once the data is read
  const unit = { steps: 'step', none: 'step', seconds: 'second', teacher_tokens: 'teacher token' }[
    budget.kind
  ];
  const progress = createProgress({ label: 'sweep', ...total, done: done(), unit, quiet });
  const running = new Set<string>();
  const update = (): void => progress.update(Math.round(done()), { running: [...running].join(' ') || '-' });
  const timer = setInterval(update, 1000);
  return {
    begin: (name: string) => void running.add(name),
    end: (name: string, error: string | undefined) => {
      running.delete(name);
      progress.note(`${name}: ${error ?? 'done'}`);
    },
    finish: () => {
      clearInterval(timer);
      update();
      progress.finish();
    },
  };
}
