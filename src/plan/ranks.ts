import { alone } from '../cluster/cluster.js';
import { Shards } from '../cluster/shards.js';
import { bundles } from '../cluster/sum.js';
import { UsageError } from '../errors.js';
import { trainedParameters } from '../models/lora.js';
import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import type { Speeds } from './calibrate.js';
import { secondsOnWire, stepTraffic, type Traffic } from './exchange.js';
import type { PlannedModel } from './inputs.js';
import type { Network } from './network.js';
import type { Schedule } from './schedule.js';
import { byPartOfSlowest, secondsOf, sum } from './time.js';
import type { Job, Work } from './work.js';

/** A doubling of the ranks pays when it shortens the run by at least this share. */
const PAYS = 0.1;

/** What the time of a run on several ranks follows from. */
export interface RanksInputs {
  config: TrainConfig;
  work: Work;
  schedule: Schedule;
  models: readonly PlannedModel[];
  speeds: readonly Speeds[];
  network: Network;
}

/** A run on R ranks; seconds. */
export interface RanksTime {
  ranks: number;
  /** Mean of an optimizer step, by part, each of the rank that takes longest; `exchange` is what a single process has not. */
  per_step: Record<string, number> & { total: number };
  training: number;
  validation: number;
  total: number;
  /** Time of one process over R times this one. */
  efficiency: number;
}

/** The plan of a run on R ranks. */
export interface RanksPlan {
  ranks: number;
  shards: number;
  /** Bytes and seconds a second: what was asked for. */
  network: Network;
  /** What a rank sends in an optimizer step, and receives. */
  exchanged_per_step: Traffic;
  /** Seconds of that on the wire, for which nothing is measured. */
  wire: number;
  /** Of one rank, in bytes. */
  memory: number;
  /** 1, 2, 4, … up to as many as there are shards; null without a calibration. */
  times: RanksTime[] | null;
  /** The ranks from which the next doubling shortens the run by less than a tenth; as many as there are shards where each pays. */
  pays_up_to: number | null;
}

/** @throws UsageError naming train.shards when the run cannot be shared out over so many */
export function checkRanks({ train }: TrainConfig, ranks: number): void {
  if (!Number.isInteger(Math.log2(ranks)))
    throw new UsageError(
      `--ranks: ${ranks}; expected a power of two, at most train.shards (${train.shards})`,
    );
  new Shards(train.shards, { ...alone, size: ranks });
}

/** @param speeds null where nothing was measured @param rank bytes of memory of one rank */
export function planRanks(
  { count, ...inputs }: Omit<RanksInputs, 'speeds'> & { count: number },
  speeds: readonly Speeds[] | null,
  rank: { memory: number },
): RanksPlan {
  const traffic = trafficOf(inputs, count);
  const times = speeds && timesOf({ ...inputs, speeds });
  return {
    ranks: count,
    shards: inputs.config.train.shards,
    network: inputs.network,
    exchanged_per_step: traffic,
    wire: secondsOnWire(traffic, inputs.network),
    ...rank,
    times,
    pays_up_to: times && paysUpTo(times),
  };
}

/** What a rank exchanges in an optimizer step. */
export function trafficOf(
  { config, work, schedule, models }: Pick<RanksInputs, 'config' | 'work' | 'schedule' | 'models'>,
  ranks: number,
): Traffic {
  const { config: student } = models[0]!;
  const sizes = Object.values(trainedParameters(student)).map(({ shape }) =>
    shape.reduce((product, n) => product * n, 1),
  );
  const arrays = bundles(sizes).map((bundle) => bundle.reduce((total, i) => total + sizes[i]!, 0));
  // A policy-gradient round is sampled by student and teacher together, elsewhere each answers for itself.
  const policy = isPolicyGradient(config.method);
  const sampled = work.step.filter(({ kind, model }) => kind === 'decode' && (!policy || model === 0));
  const tokens = sampled.reduce((total, job) => total + job.times * job.tokens, 0);
  const rounds = schedule.steps_per_round === null ? Number(tokens > 0) : 1 / schedule.steps_per_round;
  return stepTraffic(arrays, { tokens, rounds }, ranks);
}

/** The run on 1, 2, 4, … ranks, each a machine with the measured speeds, up to the number of shards. */
export function timesOf(inputs: RanksInputs): RanksTime[] {
  const { shards } = inputs.config.train;
  const all = Array.from({ length: Math.log2(shards) + 1 }, (_, level) => timeOn(inputs, 2 ** level));
  const single = all[0]!.total;
  return all.map((time) => ({ ...time, efficiency: single / (time.ranks * time.total) }));
}

/** Where the first doubling shortens the run by less than a tenth. */
export function paysUpTo(times: readonly { ranks: number; total: number }[]): number {
  const last = times.findIndex(({ total }, i) => {
    const doubled = times[i + 1];
    return doubled === undefined || doubled.total > (1 - PAYS) * total;
  });
  return times[last]!.ranks;
}

function timeOn(inputs: RanksInputs, ranks: number): Omit<RanksTime, 'efficiency'> {
  const { config, work, schedule, models, speeds, network } = inputs;
  const { shards, steps, gradient_checkpointing } = config.train;
  const seconds = (jobs: readonly Job[]): Record<string, number> =>
    byPartOfSlowest(jobs, (job) => secondsOf(job, models, speeds, gradient_checkpointing), { ranks, shards });
  const parts = {
    ...seconds(work.step),
    optimizer: optimizerSeconds(inputs, ranks),
    ...(ranks > 1 && {
      exchange: handSeconds(inputs, ranks) + secondsOnWire(trafficOf(inputs, ranks), network),
    }),
  };
  const per_step = { ...parts, total: sum(parts) };
  const training = steps * per_step.total + sum(seconds(work.once));
  const validation = schedule.validations * sum(seconds(work.validation));
  return { ranks, per_step, training, validation, total: training + validation };
}

/** AdamW on all parameters, which every rank does, and adding up the gradients of its own passes. */
export function optimizerSeconds(
  { config, work, schedule, models, speeds }: Omit<RanksInputs, 'network'>,
  ranks: number,
): number {
  const { update, add } = speeds[0]!;
  const withText = work.step.some(({ part }) => part === 'pretraining_student');
  const passes = (schedule.accumulation + (withText ? config.train.shards : 0)) / ranks;
  return models[0]!.size.trained * (update! + (passes - 1) * add!);
}

/** What the exchange costs a rank itself: measured between two, where the half is added and sent. */
function handSeconds({ models, speeds }: RanksInputs, ranks: number): number {
  return (models[0]!.size.trained * (speeds[0]!.hand ?? 0) * 2 * (ranks - 1)) / ranks;
}
