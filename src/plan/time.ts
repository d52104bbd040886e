import type { Speeds } from './calibrate.js';
import { forwardFlops, trainFlops } from './flops.js';
import type { PlannedModel } from './inputs.js';
import type { Job } from './work.js';

export function flopsOf(
  { model, kind, pass }: Job,
  models: readonly PlannedModel[],
  checkpointing: boolean,
): number {
  const { size } = models[model]!;
  return kind === 'train' ? trainFlops(size, pass, checkpointing) : forwardFlops(size, pass);
}

/** Seconds of a job once, from measured rates; decoding step by step, since small batches are dearer a row. */
export function secondsOf(
  job: Job,
  models: readonly PlannedModel[],
  speeds: readonly Speeds[],
  checkpointing: boolean,
): number {
  const speed = speeds[job.model]!;
  if (job.kind === 'train') return flopsOf(job, models, checkpointing) / speed.train!;
  if (!job.decoding) return flopsOf(job, models, checkpointing) / speed.forward;
  const { prefill, rows } = job.decoding;
  const steps = rows.reduce((sum, n) => sum + speed.stepFixed + n * speed.stepRow, 0);
  return forwardFlops(models[job.model]!.size, prefill) / speed.forward + steps;
}

/** Σ of `value` over the jobs, each as often as it is done, by part. */
export function byPart(jobs: readonly Job[], value: (job: Job) => number): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const job of jobs) sums[job.part] = (sums[job.part] ?? 0) + job.times * value(job);
  return sums;
}

export function sum(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((total, x) => total + x, 0);
}

/**
 * The same, of the rank that takes longest: ranks have `shards / ranks` neighbouring shards each, and meet after every part of every
 * batch, or would.
 */
export function byPartOfSlowest(
  jobs: readonly Job[],
  value: (job: Job) => number,
  { ranks, shards }: { ranks: number; shards: number },
): Record<string, number> {
  const loads = new Map<string, { part: string; ofRanks: Float64Array }>();
  for (const job of jobs) {
    const key = `${job.draw} ${job.part}`;
    const load = loads.get(key) ?? { part: job.part, ofRanks: new Float64Array(ranks) };
    load.ofRanks[Math.floor((job.shard * ranks) / shards)]! += job.times * value(job);
    loads.set(key, load);
  }
  const sums: Record<string, number> = {};
  for (const { part, ofRanks } of loads.values()) sums[part] = (sums[part] ?? 0) + Math.max(...ofRanks);
  return sums;
}
