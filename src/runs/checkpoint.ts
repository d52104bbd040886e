import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { RunError, UsageError } from '../errors.js';
import { baseDigest, loadAdapter } from '../models/adapter.js';
import { loadModel, saveModel } from '../models/checkpoint.js';
import type { Model } from '../models/model.js';
import { needsValues } from '../objectives/advantages.js';
import type { Optimizer } from '../optim/adamw.js';
import { disposeState } from '../optim/state.js';
import { disposeParams, type Params } from '../tensor/params.js';
import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { objectiveOf } from '../training/minillm.js';
import type { TrainingState } from '../training/state.js';
import type { ValueHead } from '../training/valueHead.js';
import { newHead } from '../training/valueRound.js';
import { removeLeftovers, writeDirectoryAtomic } from './atomic.js';
import { readReplay } from './replayState.js';
import { readTrainingState, writeTrainingState } from './trainingState.js';

/**
 * A checkpoint is a directory `checkpoints/<step>/`: the student as a Hugging Face model directory in float32, with
 * the rest of the TrainingState beside it in `training-state/`. It appears under its name only when it is complete.
 *
 * @returns that directory
 */
export async function saveCheckpoint(
  runDir: string,
  state: TrainingState,
  student: Model,
  tokenizerFrom: string,
  shards = 1,
): Promise<string> {
  const directory = join(runDir, 'checkpoints', String(state.step));
  await writeDirectoryAtomic(directory, async (temporary) => {
    await saveModel(temporary, { ...student, params: state.params }, { dtype: 'f32', tokenizerFrom });
    await writeTrainingState(join(temporary, 'training-state'), state, shards);
  });
  return directory;
}

/**
 * The state in the newest checkpoint of a run, or undefined when there is none.
 *
 * @param student the model the run began with: the checkpoint's must have the same parameters
 * @throws UsageError in one line when a file is missing, torn, or does not belong to this run
 */
export async function loadLatestCheckpoint(
  runDir: string,
  config: TrainConfig,
  student: Model,
  optimizer: Optimizer,
): Promise<TrainingState | undefined> {
  const step = (await checkpointSteps(runDir)).at(-1);
  if (step === undefined) return undefined;
  const directory = join(runDir, 'checkpoints', String(step));
  // What was loaded before a file turned out to be damaged.
  let [params, state]: [Params?, TrainingState?] = [];
  try {
    params = await loadTrained(directory, student);
    checkSameParameters(params, student.params, directory);
    const value = headOf(config, student);
    state = await readTrainingState(
      join(directory, 'training-state'),
      params,
      optimizer,
      value,
      config.train.shards,
    ).finally(() => value && disposeState(value));
    if (state.step !== step || step > config.train.steps) {
      throw new UsageError(
        `${directory}: training-state/state.json is of step ${state.step}, expected ${step} of ${config.train.steps}`,
      );
    }
    if (isPolicyGradient(config.method)) checkRound(state, config, student, directory);
    if (config.method === 'distillm') {
      state.replay = await readReplay(join(directory, 'training-state'), student.config.vocabSize);
    }
    return state;
  } catch (error) {
    if (params) disposeParams(params);
    if (state) disposeState(state.optimizer);
    if (state?.value) disposeState(state.value);
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(
      `${error.message}; delete ${directory} and --resume goes on from what was saved before it`,
    );
  }
}

/** What trains of a saved student; the base of adapters is there already. */
async function loadTrained(directory: string, { config }: Model): Promise<Params> {
  if (!config.lora) return (await loadModel(directory)).params;
  const saved = await baseDigest(directory);
  if (saved !== config.lora.baseDigest)
    throw new RunError(
      `${directory}: its adapters were trained on another base (SHA-256 ${saved?.slice(0, 12)}, the student's is ${config.lora.baseDigest?.slice(0, 12)}); put that base back, or begin anew with another --out`,
    );
  return loadAdapter(directory, config);
}

/** A value head as this configuration begins with it, where it has one. */
function headOf(config: TrainConfig, student: Model): ValueHead | undefined {
  if (!isPolicyGradient(config.method)) return undefined;
  const objective = objectiveOf({ config });
  return needsValues(objective) ? newHead(student.config, objective, config.value) : undefined;
}

function checkSameParameters(found: Params, expected: Params, directory: string): void {
  for (const name of new Set([...Object.keys(expected), ...Object.keys(found)])) {
    if (found[name]?.shape.join() !== expected[name]?.shape.join()) {
      throw new UsageError(
        `${directory}: the parameter ${name} is not that of the student this run began with`,
      );
    }
  }
}

/** The rollouts under way must be what this configuration collects: every step of the round indexes into them. */
function checkRound(state: TrainingState, config: TrainConfig, student: Model, directory: string): void {
  const where = `${directory}: training-state/rollouts.jsonl`;
  const { rollouts, round } = state;
  const expected = round === 0 ? 0 : config.rollout.rollouts;
  if (rollouts.length !== expected) {
    throw new UsageError(`${where} has ${rollouts.length} rollouts, expected ${expected}`);
  }
  rollouts.forEach((t, i) => {
    if (state.value && !t.values)
      throw new UsageError(`${where}: rollout ${i} lacks the values of the value head`);
    if (t.promptIds.length === 0 || t.responseIds.length === 0 || !t.teacherLogprobs || !t.kl) {
      throw new UsageError(`${where}: rollout ${i} lacks a prompt, a response or the teacher's scores`);
    }
    for (const id of [...t.promptIds, ...t.responseIds]) {
      if (id >= student.config.vocabSize) {
        throw new UsageError(`${where}: rollout ${i} holds the token id ${id}, outside the vocabulary`);
      }
    }
  });
}

/** Deletes all but the newest `keep` checkpoints, and what killed processes left half-written. */
export async function pruneCheckpoints(runDir: string, keep: number): Promise<void> {
  const root = join(runDir, 'checkpoints');
  const old = (await checkpointSteps(runDir)).slice(0, -keep).map(String);
  for (const name of old) await rm(join(root, name), { recursive: true, force: true });
  await removeLeftovers(root);
}

/** Steps of the checkpoints that are there, rising. */
export async function checkpointSteps(runDir: string): Promise<number[]> {
  const names = await entries(join(runDir, 'checkpoints'));
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

async function entries(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch {
    return [];
  }
}
