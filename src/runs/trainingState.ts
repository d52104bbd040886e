import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import { SafetensorsFile } from '../models/safetensors.js';
import { writeSafetensors } from '../models/safetensorsWriter.js';
import type { Optimizer } from '../optim/adamw.js';
import { disposeState, type FlatState, flattenState, restoreState } from '../optim/state.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Params } from '../tensor/params.js';
import type { TrainingState } from '../training/state.js';
import type { ValueHead } from '../training/valueHead.js';
import { writeReplay } from './replayState.js';
import { validate } from './runConfig.js';

/*
 * The part of a TrainingState that is not the student itself:
 *
 *   state.json             step, round, step in the round, best validation, what a baseline remembers, the optimizer's numbers, the shards where
 *                          there are several
 *   optimizer.safetensors  the optimizer's tensors by name, and under value/ the value head and those of its optimizer
 *   rollouts.jsonl         the rollouts of the round under way
 *   replay.json            the replay buffer of distillm (replayState.ts)
 *
 * Every number comes back with the same bits: float32 travels as float32, or as the shortest decimal that names it.
 */

const stateSchema = z.strictObject({
  format: z.literal(1),
  step: z.number().int().min(0),
  round: z.number().int().min(0),
  step_in_round: z.number().int().min(0),
  best: z.strictObject({ step: z.number().int().min(0), value: z.number() }).nullable(),
  unvalidated: z.literal(true).optional(),
  ema: z.strictObject({ mean: z.number(), weight: z.number() }).optional(),
  shards: z.number().int().min(2).optional(),
  optimizer: z.record(z.string(), z.number()),
});

export async function writeTrainingState(directory: string, state: TrainingState, shards = 1): Promise<void> {
  await mkdir(directory, { recursive: true });
  const { tensors, numbers } = flattenState({
    ...state.optimizer,
    ...(state.value && { value: state.value }),
  });
  const json: z.input<typeof stateSchema> = {
    format: 1,
    step: state.step,
    round: state.round,
    step_in_round: state.stepInRound,
    best: state.best,
    ...(state.unvalidated && { unvalidated: true }),
    ...(state.ema && { ema: state.ema }),
    ...(shards > 1 && { shards }),
    optimizer: numbers,
  };
  await writeFile(join(directory, 'state.json'), `${JSON.stringify(json, null, 2)}\n`);
  const moments = Object.entries(tensors).map(([name, x]) => ({
    name,
    shape: x.shape,
    data: () => x.data<'float32'>(),
  }));
  await writeSafetensors(join(directory, 'optimizer.safetensors'), moments);
  await writeFile(
    join(directory, 'rollouts.jsonl'),
    state.rollouts.map((t) => `${JSON.stringify(trajectoryToJson(t))}\n`).join(''),
  );
  if (state.replay) await writeReplay(directory, state.replay);
}

/**
 * @param freshValue a head of the expected size, where the run has one; stays the caller's @param shards of the run
 * @throws UsageError naming the file when it is missing, torn, or does not fit the parameters
 */
export async function readTrainingState(
  directory: string,
  params: Params,
  optimizer: Optimizer,
  freshValue?: ValueHead,
  shards = 1,
): Promise<TrainingState> {
  const stateFile = join(directory, 'state.json');
  const json = validate(stateSchema, await readJson(stateFile), stateFile);
  const { shards: saved = 1 } = json;
  if (saved !== shards)
    throw new UsageError(`${stateFile}: of a run with ${saved} shards, expected ${shards} (train.shards)`);
  const rolloutsFile = join(directory, 'rollouts.jsonl');
  const lines = (await readText(rolloutsFile)).split('\n').filter((line) => line !== '');
  const rollouts = lines.map((line, i) =>
    trajectoryFromJson(parseJson(line, `${rolloutsFile}:${i + 1}`), `${rolloutsFile}:${i + 1}`),
  );
  // The head is made with the first round.
  const value = json.round > 0 ? freshValue : undefined;
  const restored = await readOptimizerState(
    join(directory, 'optimizer.safetensors'),
    json.optimizer,
    params,
    optimizer,
    value,
  );
  return {
    step: json.step,
    round: json.round,
    stepInRound: json.step_in_round,
    params,
    ...restored,
    rollouts,
    best: json.best,
    ...(json.unvalidated && { unvalidated: true }),
    ...(json.ema && { ema: json.ema }),
  };
}

async function readOptimizerState(
  file: string,
  numbers: FlatState['numbers'],
  params: Params,
  optimizer: Optimizer,
  value: ValueHead | undefined,
): Promise<Pick<TrainingState, 'optimizer' | 'value'>> {
  const tensors: FlatState['tensors'] = {};
  const reader = await SafetensorsFile.open(file);
  const like = optimizer.init(params);
  try {
    for (const name of reader.entries.keys()) {
      const { shape, data } = await reader.read(name);
      tensors[name] = tf.tensor(data, [...shape]);
    }
    const saved = restoreState({ ...like, ...(value && { value }) }, { tensors, numbers });
    const { value: head, ...own } = saved as typeof like & { value?: ValueHead };
    return { optimizer: own, ...(head && { value: head }) };
  } catch (error) {
    tf.dispose(Object.values(tensors));
    // Which leaf does not fit is known where states are put together; where it lies (tensors there, numbers in state.json), here.
    if (error instanceof UsageError && !error.message.startsWith(file))
      throw new UsageError(`${dirname(file)}: ${error.message}`);
    throw error;
  } finally {
    disposeState(like);
    await reader.close();
  }
}

const numbers = z.array(z.number());
const tokenIds = z.array(z.number().int().min(0).max(0x7fffffff));
const trajectorySchema = z.strictObject({
  prompt_index: z.number().int(),
  sample: z.number().int(),
  prompt_ids: tokenIds,
  response_ids: tokenIds,
  student_logprobs: numbers,
  teacher_logprobs: numbers.optional(),
  behavior_logprobs: numbers,
  kl: numbers.optional(),
  entropy: numbers,
  collision: numbers,
  values: numbers.optional(),
  rewards: z
    .array(z.strictObject({ name: z.string(), weight: z.number(), value: z.union([z.number(), numbers]) }))
    .optional(),
  finished: z.boolean(),
  policy_version: z.number().int(),
  stream_key: z.string(),
});

/** A trajectory as one line of JSONL. */
export function trajectoryToJson(t: Trajectory): z.input<typeof trajectorySchema> {
  return {
    prompt_index: t.promptIndex,
    sample: t.sample,
    prompt_ids: Array.from(t.promptIds),
    response_ids: Array.from(t.responseIds),
    student_logprobs: Array.from(t.studentLogprobs),
    ...(t.teacherLogprobs && { teacher_logprobs: Array.from(t.teacherLogprobs) }),
    behavior_logprobs: Array.from(t.behaviorLogprobs),
    ...(t.kl && { kl: Array.from(t.kl) }),
    entropy: Array.from(t.entropy),
    collision: Array.from(t.collision),
    ...(t.values && { values: Array.from(t.values) }),
    ...(t.rewards && {
      rewards: t.rewards.map(({ value, ...rest }) => ({
        ...rest,
        value: typeof value === 'number' ? value : Array.from(value),
      })),
    }),
    finished: t.finished,
    policy_version: t.policyVersion,
    stream_key: t.streamKey,
  };
}

export function trajectoryFromJson(value: unknown, where: string): Trajectory {
  const row = validate(trajectorySchema, value, where);
  const { length } = row.response_ids;
  const { prompt_ids: _, rewards = [], ...lists } = row;
  const ofTask = rewards.map(({ name, value }): [string, unknown] => [`rewards.${name}`, value]);
  for (const [name, list] of [...Object.entries(lists), ...ofTask]) {
    if (Array.isArray(list) && list.length !== length) {
      throw new UsageError(
        `${where}: ${name} has ${list.length} entries, expected ${length}, one for each response token`,
      );
    }
  }
  return {
    promptIndex: row.prompt_index,
    sample: row.sample,
    promptIds: Int32Array.from(row.prompt_ids),
    responseIds: Int32Array.from(row.response_ids),
    studentLogprobs: Float32Array.from(row.student_logprobs),
    ...(row.teacher_logprobs && { teacherLogprobs: Float32Array.from(row.teacher_logprobs) }),
    behaviorLogprobs: Float32Array.from(row.behavior_logprobs),
    ...(row.kl && { kl: Float32Array.from(row.kl) }),
    entropy: Float32Array.from(row.entropy),
    collision: Float32Array.from(row.collision),
    ...(row.values && { values: Float32Array.from(row.values) }),
    ...(row.rewards && {
      rewards: row.rewards.map(({ value, ...rest }) => ({
        ...rest,
        value: typeof value === 'number' ? value : Float64Array.from(value),
      })),
    }),
    finished: row.finished,
    policyVersion: row.policy_version,
    streamKey: row.stream_key,
  };
}

async function readJson(file: string): Promise<unknown> {
  return parseJson(await readText(file), file);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${file}: cannot be read (${(error as NodeJS.ErrnoException).code}); the checkpoint is incomplete`,
    );
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${where}: not valid JSON; the checkpoint is damaged`);
  }
}
