import { basename } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { oneShard } from '../cluster/shards.js';
import type { Examples } from '../data/examples.js';
import { brief, RunError } from '../errors.js';
import type { TaskReward } from '../objectives/taskRewards.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { tokenTexts } from '../text/tokenTexts.js';
import type { TrainingContext } from './method.js';
import { type RewardBatch, RewardEnded, type RewardSource, type Rewards } from './rewardSource.js';

/** A reward that threw, hung, or gave what is no reward: what was trained so far is saved, and the run ends. */
export class RewardFailed extends RunError {}

/**
 * The responses of a round with what the task's rewards say of them. Every source gets the responses of a shard in their order, a
 * batch at a time; sources are asked beside one another. Each response is asked about once, by one process: checkpoints carry the
 * answers.
 *
 * @throws RewardFailed naming reward, module and row @throws what `context.pause` throws, while an answer is waited for
 */
export async function scoreRewards(
  context: Pick<TrainingContext, 'rewards' | 'train' | 'shards' | 'pause'>,
  trajectories: readonly Trajectory[],
): Promise<Trajectory[]> {
  const { rewards, shards = oneShard, pause } = context;
  if (!rewards || rewards.sources.length === 0) return [...trajectories];
  const ofShards: TaskReward[][][] = [];
  for (const shard of shards.own) {
    const all = asked(context.train, rewards, shards.part(trajectories, shard));
    const work = Promise.all(rewards.sources.map((source) => askedInBatches(source, all)));
    const values = await heard(work, pause);
    ofShards.push(
      all.map((_, i) =>
        rewards.sources.map(({ name, weight }, j): TaskReward => ({ name, weight, value: values[j]![i]! })),
      ),
    );
  }
  shards.meet();
  const scored = shards.together(ofShards).flat();
  return trajectories.map((trajectory, i) => ({ ...trajectory, rewards: scored[i]! }));
}

function asked(train: Examples, { tokenizer }: Rewards, part: readonly Trajectory[]): Asked[] {
  return part.map((trajectory) => {
    const { promptIndex, promptIds, responseIds, finished } = trajectory;
    const { prompt, row, where } = train.at(promptIndex)!;
    return {
      prompt,
      response: tokenizer.decode(Array.from(responseIds), { skipSpecial: true }),
      row: row ?? {},
      tokens: tokenTexts(tokenizer, responseIds, promptIds),
      ended: finished,
      where: where ?? `prompt ${promptIndex}`,
    };
  });
}

interface Asked {
  prompt: string;
  response: string;
  row: Record<string, unknown>;
  tokens: string[];
  ended: boolean;
  where: string;
}

type Value = TaskReward['value'];

async function askedInBatches(source: RewardSource, all: readonly Asked[]): Promise<Value[]> {
  const values: Value[] = [];
  for (let from = 0; from < all.length; from += source.batchSize) {
    const part = all.slice(from, from + source.batchSize);
    values.push(...(await oneBatch(source, part)));
  }
  return values;
}

async function oneBatch(source: RewardSource, part: readonly Asked[]): Promise<Value[]> {
  try {
    return read(source, part, await inTime(source, part));
  } catch (error) {
    if (error instanceof RewardFailed) throw error;
    if (part.length > 1 && !(error instanceof RewardEnded)) {
      // Which row it was, a list of rows does not tell: they are asked about one by one.
      for (const asked of part) await oneBatch(source, [asked]);
    }
    throw new RewardFailed(`${named(source)} threw ${said(error)} on ${rowsOf(part)}`);
  }
}

async function inTime(source: RewardSource, part: readonly Asked[]): Promise<unknown> {
  const timer = new AbortController();
  const late = wait(source.timeout * 1000, 'late' as const, { signal: timer.signal });
  late.catch(() => {});
  try {
    const answer = source.ask(batchOf(part));
    const first = await Promise.race([answer.then((value) => ({ value })), late]);
    if (first !== 'late') return first.value;
    answer.catch(() => {});
    source.close?.();
    throw new RewardFailed(
      `${named(source)} gave no answer within ${source.timeout} s for ${rowsOf(part)}; a larger timeout or a smaller batch_size may do`,
    );
  } finally {
    timer.abort();
  }
}

function batchOf(part: readonly Asked[]): RewardBatch {
  return {
    prompts: part.map(({ prompt }) => prompt),
    responses: part.map(({ response }) => response),
    rows: part.map(({ row }) => row),
    tokens: part.map(({ tokens }) => tokens),
    ended: part.map(({ ended }) => ended),
  };
}

function read(source: RewardSource, part: readonly Asked[], answer: unknown): Value[] {
  const refuse = (what: string, at: readonly Asked[]): never => {
    throw new RewardFailed(`${named(source)} gave ${what} for ${rowsOf(at)}`);
  };
  if (!Array.isArray(answer))
    return refuse(`${shown(answer)}, expected a list of ${part.length} rewards,`, part);
  if (answer.length !== part.length)
    return refuse(`${answer.length} rewards, expected ${part.length}, one a response,`, part);
  return part.map((asked, i) => {
    const value: unknown = answer[i];
    const length = asked.tokens.length;
    if (typeof value === 'number') {
      if (Number.isFinite(value)) return value;
      return refuse(`${value}, expected a finite number,`, [asked]);
    }
    if (!isList(value)) return refuse(`${shown(value)}, expected a number or a list of numbers,`, [asked]);
    if (value.length !== length)
      return refuse(`${value.length} numbers, expected ${length}, one a token of the response,`, [asked]);
    const bad = value.findIndex((x) => typeof x !== 'number' || !Number.isFinite(x));
    if (bad >= 0) return refuse(`${shown(value[bad])} at token ${bad}, expected a finite number,`, [asked]);
    return Float64Array.from(value as number[]);
  });
}

/** A list, or numbers in one of the typed arrays. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : brief(value, 60);
}

function named({ name, module }: RewardSource): string {
  return `reward ${name}${module ? ` (${module})` : ''}`;
}

function said(error: unknown): string {
  return JSON.stringify(error instanceof Error ? error.message : String(error)).slice(0, 300);
}

/** `train.jsonl:12`, or the first of several. */
function rowsOf(part: readonly Asked[]): string {
  const first = part[0]!.where;
  if (part.length === 1) return first;
  return `${part.length} rows, ${first} to ${basename(part.at(-1)!.where)}`;
}

/** The answer, and between its arrival and now a person who asks to stop. */
async function heard<T>(work: Promise<T>, pause: TrainingContext['pause']): Promise<T> {
  work.catch(() => {}); // given up where `pause` throws
  for (;;) {
    const first = await Promise.race([
      work.then((value) => ({ value })),
      wait(50, undefined, { ref: false }),
    ]);
    if (first) return first.value;
    await pause?.();
  }
}
