import { alone, type Cluster } from '../cluster/cluster.js';
import { activeBackend, type BackendInfo, initBackend } from '../tensor/backend.js';
import type { TrainConfig } from '../training/config.js';
import type { StepRecord } from '../training/loop.js';
import type { Keep } from './keep.js';
import type { GivenReward } from './rewards.js';
import type { EvaluationRecord } from './validation.js';

/** What is told of a run while it goes on, for a tracker of one's own. Each may be asynchronous: the run waits, off its clock. */
export interface RunHooks {
  /** After every optimizer step. */
  onStep?: (record: StepRecord) => unknown;
  /** After every validation; the first is before step 1. */
  onEvaluate?: (record: EvaluationRecord) => unknown;
  /** After every checkpoint, once it is complete under its name. */
  onCheckpoint?: (checkpoint: { step: number; directory: string }) => unknown;
}

/** How a run goes; every field has a default, that of the command line. */
export interface TrainRunOptions extends RunHooks {
  /** Goes on from the newest checkpoint in the directory; default false: a new run. */
  resume?: boolean;
  /** Goes on although data or models were replaced since the run began; default false. */
  changedInputs?: boolean;
  /** What a finished run keeps; default `all`. `final` removes what only a resume needs, so that none is possible. */
  keep?: Keep;
  /** Rewards of a task as functions, beside those of `rewards` in the configuration; nothing compares them on a resume. */
  rewards?: readonly GivenReward[];
  /** Default: what the configuration asks for, else what `initBackend` chose before, else the fastest that loads. */
  backend?: BackendInfo;
  /** Takes the run's notes, a line each; default: standard error, nothing when `quiet`. */
  log?: (line: string) => void;
  /** No progress on standard error; default false. */
  quiet?: boolean;
  /** Asked after every step: true ends the run with a checkpoint and a RunError, as Ctrl-C does; default: never. */
  stopping?: () => boolean;
  /** The processes that train together (`train.shards`), seen from this one; default: this one alone. */
  cluster?: Cluster;
}

export type RunOptions = Required<Omit<TrainRunOptions, keyof RunHooks>> & RunHooks;

export async function withDefaults(config: TrainConfig, given: TrainRunOptions): Promise<RunOptions> {
  const {
    quiet = false,
    resume = false,
    changedInputs = false,
    keep = 'all',
    cluster = alone,
    rewards = [],
    ...rest
  } = given;
  const log = given.log ?? (quiet ? () => {} : (line: string) => void process.stderr.write(`${line}\n`));
  const backend = given.backend ?? (await backendOf(config, log));
  const stopping = given.stopping ?? (() => false);
  return { ...rest, resume, changedInputs, keep, cluster, rewards, backend, log, quiet, stopping };
}

async function backendOf(config: TrainConfig, log: (line: string) => void): Promise<BackendInfo> {
  const { backend, threads, precision } = config;
  const asked = { ...(backend && { backend }), ...(threads && { threads }), ...(precision && { precision }) };
  const chosen = Object.keys(asked).length === 0 ? activeBackend() : undefined;
  if (chosen) return chosen;
  const info = await initBackend(asked);
  log(`backend ${info.name} (${info.reason})`);
  return info;
}
