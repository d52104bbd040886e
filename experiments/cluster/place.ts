/** What the laboratory trains, with which program, and how two runs are compared. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { compiledProgram } from '../../test/helpers/compiled.js';
import { difference, digestsOf } from '../torture/faults/runs.js';

const here = fileURLToPath(new URL('.', import.meta.url));
export const root = join(here, '../..');

const PLACE = 'minillm-cluster-';

/** Every command runs here and finds its configuration as run.yaml. */
export interface Place {
  path: string;
  env: NodeJS.ProcessEnv;
  stepsPerRound: number;
  steps: number;
  shards: number;
}

/**
 * An empty directory with run.yaml and sweep.yaml, and `minillm` on the PATH.
 *
 * @param program what `minillm` is; the compiled sources of this repository where it is not given
 */
export function openPlace(program = `${process.execPath} ${compiledProgram}`): Place {
  const path = mkdtempSync(join(tmpdir(), `${PLACE}${process.pid}-`));
  const bin = join(path, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'minillm'), `#!/bin/sh\nexec ${program} "$@"\n`);
  chmodSync(join(bin, 'minillm'), 0o755);
  const config = parse(readFileSync(join(here, 'minillm.yaml'), 'utf8'));
  for (const model of ['student', 'teacher']) config[model] = join(here, config[model]);
  writeFileSync(join(path, 'run.yaml'), stringify(config));
  const grid = readFileSync(join(here, 'sweep.yaml'), 'utf8');
  writeFileSync(join(path, 'sweep.yaml'), grid.replace('minillm.yaml', 'run.yaml'));
  const { rollout, train } = config;
  return {
    path,
    env: { ...outsideAnyJob(process.env), PATH: `${bin}${delimiter}${process.env.PATH}`, ...AS_ROOT },
    stepsPerRound: (rollout.rollouts / train.batch_size) * rollout.inner_epochs,
    steps: train.steps,
    shards: train.shards,
  };
}

/** Places of laboratories whose process has ended without taking them away. */
export function abandonedPlaces(
  folder = tmpdir(),
  alive = (pid: number) => existsSync(`/proc/${pid}`),
): string[] {
  const owner = (name: string): number => Number(new RegExp(`^${PLACE}(\\d+)-\\w+$`).exec(name)?.[1]);
  return readdirSync(folder)
    .filter((name) => owner(name) > 0 && !alive(owner(name)))
    .map((name) => join(folder, name));
}

/** Open MPI asks twice before it runs anything as root. */
const AS_ROOT = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };

/** Without what a scheduler or an MPI around the laboratory has set. */
export function outsideAnyJob(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(OMPI_|PMIX?_|PRTE_|SLURM_|MPI_LOCAL)/.test(name)),
  );
}

/** SHA-256 of what a run ends in. */
export function bytesOf(run: string): { student: string; metrics: string; files: number } {
  const digests = digestsOf(run);
  const [student, metrics] = [digests.get('final/model.safetensors'), digests.get('metrics.jsonl')];
  if (!student || !metrics) throw new Error(`${run}: the run has not ended`);
  return { student, metrics, files: digests.size };
}

/**
 * Files that differ from those of another run of the same configuration, are missing, or are left over. A checkpoint of a step at
 * which only one was asked to stop has nothing to be compared with.
 */
export function differingFiles(expected: string, run: string): string[] {
  const checkpoints = checkpointsOf(expected);
  const step = (name: string): number => Number(/^checkpoints\/(\d+)\//.exec(name)?.[1] ?? 0);
  return difference(digestsOf(expected), run).filter(
    (name) => !step(name) || checkpoints.includes(step(name)),
  );
}

/** The optimizer steps that a run has logged. */
export function stepsLogged(run: string): number {
  const file = join(run, 'metrics.jsonl');
  if (!existsSync(file)) return 0;
  const steps = readFileSync(file, 'utf8').matchAll(/"step":(\d+),"round":\d+,"phase":"train"/g);
  return Math.max(0, ...[...steps].map(([, step]) => Number(step)));
}

const newest = (run: string): number => Math.max(0, ...checkpointsOf(run));

function checkpointsOf(run: string): number[] {
  const folder = join(run, 'checkpoints');
  return existsSync(folder) ? readdirSync(folder).map(Number).filter(Number.isInteger) : [];
}

/** A run's newest checkpoint against that of the same step of a run that nobody interrupted, where it has one. */
export function newestCheckpoint(expected: string, run: string): { step: number; state: CheckpointState } {
  const step = newest(run);
  if (!checkpointsOf(expected).includes(step)) return { step, state: step === 0 ? 'none' : 'not compared' };
  const place = join('checkpoints', String(step));
  const differing = difference(digestsOf(join(expected, place)), join(run, place));
  return { step, state: differing.length === 0 ? 'whole' : 'damaged' };
}

export type CheckpointState = 'none' | 'not compared' | 'whole' | 'damaged';
