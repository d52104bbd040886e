/**
 * Runs the experiments of this folder.
 *
 *     npm run experiments -- --list
 *     npm run experiments -- kl-geometry
 *     npm run experiments -- all
 *
 * A folder joins by a file experiment.yaml (experiments/README.md). Options: --out DIR (default runs/experiments), where an
 * experiment works in DIR/NAME and an interrupted one goes on; --results DIR, where NAME/ is written in place of experiments/NAME/results.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { z } from 'zod';
import { describeEnvironment } from '../src/runs/environment.js';
import { initBackend } from '../src/tensor/backend.js';
import { moduleVersions, pythonProgram } from './python.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..');

/** What is run, and the files of {out} that are its results. */
const work = {
  /** Each `minillm …` or `node FILE.ts …`, words parted by spaces; {out} is the working directory. */
  commands: z.array(z.string().regex(/^(minillm|node) /, 'expected minillm … or node FILE.ts …')).min(1),
  results: z.array(z.string()).min(1),
};

export const experimentSchema = z.strictObject({
  about: z.string().min(1),
  /** Measured on two cores. */
  minutes: z.number().positive(),
  ...work,
  /** Experiments whose working directories it reads, {out}/../NAME: they run before it. */
  needs: z.array(z.string()).default([]),
  /** Modules of Python without which it is skipped; PYTHON names the interpreter. */
  python: z.array(z.string()).default([]),
  /** Runs behind the rest, where a variable of the environment says where its model is. */
  part: z.strictObject({ name: z.string(), variable: z.string(), model: z.string(), ...work }).optional(),
});
export type Experiment = z.output<typeof experimentSchema>;

/** Every folder with an experiment.yaml, the shortest first. @throws Error naming a file that is none */
export function findExperiments(directory: string): Map<string, Experiment> {
  const found = readdirSync(directory)
    .filter((name) => existsSync(join(directory, name, 'experiment.yaml')))
    .map((name): [string, Experiment] => {
      const file = join(directory, name, 'experiment.yaml');
      const checked = experimentSchema.safeParse(parse(readFileSync(file, 'utf8')));
      if (checked.success) return [name, checked.data];
      const issue = checked.error.issues[0]!;
      throw new Error(`${file}: ${issue.path.join('.')}: ${issue.message}`);
    });
  return new Map(found.sort(([, a], [, b]) => a.minutes - b.minutes));
}

/**
 * The experiments asked for and those that they need, each once and after what it needs.
 *
 * @throws Error naming an experiment that does not exist
 */
export function inOrder(names: readonly string[], experiments: ReadonlyMap<string, Experiment>): string[] {
  const order: string[] = [];
  const add = (name: string, neededBy: readonly string[]): void => {
    const found = experiments.get(name);
    if (!found) {
      throw new Error(
        `${name}: no such experiment${neededBy.length > 0 ? ` (needed by ${neededBy.at(-1)})` : ''}; expected all, or some of ${[...experiments.keys()].join(', ')}`,
      );
    }
    if (neededBy.includes(name)) throw new Error(`${[...neededBy, name].join(' needs ')}: a circle`);
    for (const other of found.needs) add(other, [...neededBy, name]);
    if (!order.includes(name)) order.push(name);
  };
  for (const name of names) add(name, []);
  return order;
}

/** What a command of an experiment starts: this package's program or one of its scripts, from the repository's root. */
export function argumentsOf(command: string, out: string): string[] {
  const [program, ...words] = command.trim().split(/\s+/);
  const given = words.map((word) => word.replaceAll('{out}', out));
  return ['--import', 'tsx', ...(program === 'minillm' ? ['src/cli/main.ts'] : []), ...given];
}

export interface Outcome {
  seconds: { command: string; seconds: number }[];
  results: string[];
}

/** Why the part of an experiment is skipped here. */
export function skippedPart(
  { part }: Pick<Experiment, 'part'>,
  environment: NodeJS.ProcessEnv = process.env,
): string | undefined {
  if (!part || environment[part.variable]) return undefined;
  return `${part.name}: skipped, and its results left as they are: set ${part.variable} to a directory with ${part.model}`;
}

/**
 * Runs the commands one after the other in `out` and puts the results, with environment.json, into `results`. What each took, over
 * all calls, is kept in OUT/seconds.json. The results of a part that is skipped stay.
 */
export async function runExperiment(
  experiment: Experiment,
  out: string,
  results: string,
  start: (args: string[]) => ChildProcess = (args) =>
    spawn(process.execPath, args, { cwd: root, stdio: 'inherit' }),
): Promise<Outcome> {
  mkdirSync(out, { recursive: true });
  const { part } = experiment;
  const works = [experiment, ...(part && !skippedPart(experiment) ? [part] : [])];
  const commands = works.flatMap((each) => each.commands);
  const written = works.flatMap((each) => each.results);
  // A call that goes on from an interruption adds to what the earlier ones took.
  const record = join(out, 'seconds.json');
  const spent: Record<string, number> = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {};
  for (const command of commands) {
    const started = performance.now();
    const code = await new Promise<number>((done, fail) => {
      start(argumentsOf(command, out))
        .on('error', fail)
        .on('close', (exit, signal) => done(exit ?? (signal === 'SIGINT' ? 130 : 1)));
    });
    spent[command] = (spent[command] ?? 0) + (performance.now() - started) / 1000;
    writeFileSync(record, `${JSON.stringify(spent, null, 2)}\n`);
    if (code !== 0) throw new Error(`${command}: ended with exit code ${code}; the same call goes on`);
  }
  const seconds = commands.map((command) => ({
    ...{ command, seconds: Math.round(10 * spent[command]!) / 10 },
  }));
  const missing = written.filter((name) => !existsSync(join(out, name)));
  if (missing.length > 0) throw new Error(`${missing.join(', ')}: not written by its commands`);
  mkdirSync(results, { recursive: true });
  const kept = skippedPart(experiment) ? part!.results : [];
  for (const name of readdirSync(results).filter((found) => !kept.includes(found)))
    rmSync(join(results, name), { recursive: true });
  for (const name of written) cpSync(join(out, name), join(results, name), { recursive: true });
  const { seed: _, ...environment } = describeEnvironment(await initBackend({}), 0);
  const total = seconds.reduce((sum, part) => sum + part.seconds, 0);
  const surroundings = { ...environment, wall_clock_seconds: Math.round(total), commands: seconds };
  writeFileSync(join(results, 'environment.json'), `${JSON.stringify(surroundings, null, 2)}\n`);
  return { seconds, results: [...written, 'environment.json'] };
}

/** Why an experiment cannot run here, where it is about Python. */
export function missingPython(
  { python }: Pick<Experiment, 'python'>,
  program = pythonProgram(),
): string | undefined {
  if (python.length === 0) return undefined;
  try {
    moduleVersions(program, python);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: 'boolean' },
      out: { type: 'string', default: 'runs/experiments' },
      results: { type: 'string' },
    },
  });
  const experiments = findExperiments(here);
  if (values.list || positionals.length === 0) {
    const width = Math.max(...[...experiments.keys()].map((name) => name.length));
    for (const [name, { minutes, about }] of experiments)
      process.stdout.write(`${name.padEnd(width)}  ${String(minutes).padStart(4)} min  ${about}\n`);
    return 0;
  }
  const names = inOrder(positionals.includes('all') ? [...experiments.keys()] : positionals, experiments);
  const failed: string[] = [];
  for (const name of names) {
    const experiment = experiments.get(name)!;
    const missing = missingPython(experiment);
    if (missing) {
      process.stderr.write(`${name}: skipped: ${missing}\n`);
      continue;
    }
    process.stderr.write(`${name}: about ${experiment.minutes} min on two cores\n`);
    const skipped = skippedPart(experiment);
    if (skipped) process.stderr.write(`${name}: ${skipped}\n`);
    const results = values.results ? join(resolve(values.results), name) : join(here, name, 'results');
    try {
      const { seconds } = await runExperiment(experiment, join(resolve(values.out), name), results);
      const total = seconds.reduce((sum, part) => sum + part.seconds, 0);
      process.stderr.write(`${name}: ${Math.round(total)} s, results in ${results}\n`);
    } catch (error) {
      process.stderr.write(`${name}: ${(error as Error).message}\n`);
      failed.push(name);
    }
  }
  if (failed.length > 0) process.stderr.write(`failed: ${failed.join(', ')}\n`);
  return failed.length > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main().catch((error: Error) => {
    process.stderr.write(`experiments: ${error.message}\n`);
    return 2;
  });
}
