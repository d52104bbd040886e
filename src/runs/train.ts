import { dirname } from 'node:path';
import { makeDirectory } from '../durable.js';
import { RunError, refusedByDisk } from '../errors.js';
import { withoutWords, wordlessNote } from '../evaluation/wordless.js';
import { saveModel } from '../models/checkpoint.js';
import { type Model, parameterCount } from '../models/model.js';
import { disposeState } from '../optim/state.js';
import { breathe, Stopped } from '../pieces.js';
import { deviceMemory } from '../tensor/deviceMemory.js';
import { disposeParams } from '../tensor/params.js';
import type { TrainConfig } from '../training/config.js';
import { unreadFields } from '../training/fields.js';
import { optimizerOf, trainingLoop } from '../training/loop.js';
import type { TrainingContext } from '../training/method.js';
import { methods } from '../training/methods.js';
import { UNTRAINED } from '../training/selection.js';
import type { TrainingState } from '../training/state.js';
import { teacherLogitsBudget } from '../training/teacherLogits.js';
import { writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
import { untrainedBest } from './bestChoice.js';
import { loadLatestCheckpoint, pruneCheckpoints, saveCheckpoint } from './checkpoint.js';
import { claim } from './claim.js';
import { DriftWatch } from './driftWatch.js';
import { describeEnvironment, readEnvironment, sayWhatDiffers } from './environment.js';
import { checkInputs } from './inputDigests.js';
import { refuseFinished, tidyUp } from './keep.js';
import { acceptChanges } from './lengthen.js';
import { loadMaterials, type Materials } from './materials.js';
import { readMetrics } from './metricsLog.js';
import { openRewards } from './rewards.js';
import { stringifyConfig } from './runConfig.js';
import { withRunDate } from './runDate.js';
import { openRunDirectory, refuseOccupied, runPaths, scratchOf } from './runDirectory.js';
import { RunLog } from './runLog.js';
import { type RunOptions, type TrainRunOptions, withDefaults } from './runOptions.js';
import { selectionFor } from './selection.js';
import { whySpent } from './spent.js';
import { validate } from './validation.js';

export interface TrainSummary {
  out: string;
  method: string;
  steps: number;
  /** The validation that `best/` was chosen by. */
  best: { step: number; metric: string; value: number } | null;
  train_seconds: number;
  /** Tokens that teachers read or wrote for training. */
  teacher_tokens: number;
  final: string;
  /** What somebody who goes on from this run should know; empty where there is nothing. */
  notes: string[];
}

/**
 * One training run from a configuration (`trainConfigFrom`, `readTrainConfig`) to `best/` and `final/`, in a directory of its own.
 * What a hook throws ends the run; the checkpoints before it are intact and `resume` goes on from them.
 *
 * @throws RunError when the loss diverges, or after `stopping`
 * @throws UsageError if the directory holds another run, or another process is at work in it, or its inputs were replaced
 */
export async function runTraining(
  config: TrainConfig,
  out: string,
  options: TrainRunOptions = {},
): Promise<TrainSummary> {
  refuseOccupied(out, options.resume ?? false);
  // Where no directory can be made, opening the run's own says so.
  let release = async (): Promise<void> => {};
  try {
    if (canBeMade(dirname(out))) release = await claim(runPaths(out).process, out, 'trains there');
    return await trainIn(config, out, await withDefaults(config, options));
  } catch (error) {
    throw aboutTheDisk(error, out);
  } finally {
    // On a disk that has become read-only the file stays; that of a process that has ended is passed over.
    await release().catch(() => {});
  }
}

function canBeMade(directory: string): boolean {
  try {
    makeDirectory(directory);
    return true;
  } catch {
    return false;
  }
}

/** A write that the disk refused, in words; any other error as it is. */
function aboutTheDisk(error: unknown, out: string): unknown {
  const refused = refusedByDisk(error, out);
  if (!refused) return error;
  return new RunError(
    `${refused}; what was saved is whole: mend that, and --resume goes on from the newest checkpoint`,
  );
}

/** What a run has in memory, for whoever takes it away. */
interface Held {
  materials?: Materials;
  state?: TrainingState;
  rewards?: Awaited<ReturnType<typeof openRewards>>;
}

/** A run that ends early leaves nothing in memory either: a library's caller goes on. */
async function trainIn(given: TrainConfig, out: string, options: RunOptions): Promise<TrainSummary> {
  const held: Held = {};
  try {
    return await trainHolding(held, given, out, options);
  } finally {
    const { materials, state, rewards } = held;
    rewards?.close();
    if (materials) for (const { params } of [materials.student, ...materials.teachers]) disposeParams(params);
    if (state) for (const own of [state.params, state.optimizer, state.value ?? {}]) disposeState(own);
  }
}

async function trainHolding(
  held: Held,
  given: TrainConfig,
  out: string,
  options: RunOptions,
): Promise<TrainSummary> {
  const config = await withRunDate(given, out, options.log);
  const unread = unreadFields(config);
  if (unread.length > 0) options.log(`note: ${config.method} does not read ${unread.join(', ')}`);
  const rewarded = config.rewards !== undefined || options.rewards.length > 0;
  const materials = await loadMaterials(config, options.log, rewarded);
  held.materials = materials;
  if (rewarded) held.rewards = await openRewards(config, options.rewards, materials.tokenizer);
  if (options.resume) await acceptChanges(out, config, options.log);
  await openRunDirectory(out, stringifyConfig(config), options.resume);
  const paths = runPaths(out);
  const { resume, changedInputs, log } = options;
  await checkInputs(config, out, { resume, changed: changedInputs, log });
  if (typeof config.student === 'string') {
    const untrained = await untrainedBest(config.student);
    if (untrained) log(`note: student ${untrained}`);
  }
  const blind = blindSelection(config, materials);
  if (blind) log(`note: ${blind}`);
  const before = options.resume ? await readEnvironment(out) : undefined;
  const now = describeEnvironment(options.backend, config.seed);
  if (before) sayWhatDiffers(before, now, log);
  const teacherLogitsBytes = logitsBudget(before, now);
  const environment = {
    ...now,
    ...(teacherLogitsBytes && { teacher_logits_bytes: teacherLogitsBytes }),
    started: before?.started ?? new Date().toISOString(),
    student_parameters: parameterCount(materials.student.config),
    ...(materials.teachers.length > 0 && {
      teacher_parameters: materials.teachers.map((teacher) => parameterCount(teacher.config)),
    }),
  };
  await writeFileAtomic(paths.environment, `${JSON.stringify(environment, null, 2)}\n`);
  const { state, resumeAt } = await openState(config, materials, out, options);
  held.state = state;
  const context: TrainingContext = {
    config,
    student: { config: materials.student.config, params: state.params },
    teachers: materials.teachers,
    train: materials.train,
    corpus: materials.corpus,
    eosIds: materials.student.config.eosIds,
    closingId: materials.tokenizer.eosId,
    scratch: scratchOf(out),
    ...(teacherLogitsBytes && { teacherLogitsBytes }),
    ...(held.rewards && { rewards: held.rewards }),
    log: options.log,
    async pause() {
      await breathe();
      if (options.stopping()) throw new Stopped();
    },
  };
  const method = methods[config.method]();
  const runLog = RunLog.open(out, {
    resumeAt,
    unvalidated: state.unvalidated ?? false,
    steps: config.train.steps,
    label: config.method,
    quiet: options.quiet,
    period: method.stepsPerRound?.(context) ?? 1,
  });
  const validation = {
    ...{ context, method, materials, out, runLog, watch: DriftWatch.from(readMetrics(paths.metrics)) },
    save: (directory: string, student: Model) => saveStudent(directory, student, materials),
  };
  try {
    await trainingLoop(context, method, state, {
      onStep: async (record) => {
        runLog.step(record);
        await runLog.untimed(async () => void (await options.onStep?.(record)));
      },
      evaluate: () =>
        runLog.untimed(async () => {
          const record = await validate(validation, state);
          await options.onEvaluate?.(record);
        }),
      checkpoint: () =>
        runLog.untimed(async () => {
          runLog.sync();
          const directory = await saveCheckpoint(out, state, context.student, materials.tokenizerFrom);
          await pruneCheckpoints(out, config.checkpoint.keep);
          await options.onCheckpoint?.({ step: state.step, directory });
        }),
      stopping: options.stopping,
      spent: () => whySpent(config, state, runLog) !== undefined,
    });
    const why = whySpent(config, state, runLog);
    if (why) options.log(`${why}: ended at step ${state.step} of ${config.train.steps}`);
    await saveStudent(paths.final, context.student, materials);
  } finally {
    method.dispose?.();
    runLog.close();
  }
  options.log(await tidyUp(out, options.keep));
  return {
    out,
    method: config.method,
    steps: state.step,
    best: state.best && { ...state.best, metric: selectionFor(config, materials.valid)?.metric ?? 'none' },
    train_seconds: Math.round(runLog.trainSeconds * 10) / 10,
    teacher_tokens: runLog.teacherTokens,
    final: paths.final,
    notes: [...(blind ? [blind] : []), ...(state.best?.step === 0 && state.step > 0 ? [UNTRAINED] : [])],
  };
}

/** A line where best/ is chosen by a Rouge-L that cannot see the references. */
function blindSelection(config: TrainConfig, { valid }: Materials): string | undefined {
  if (selectionFor(config, valid)?.metric !== 'rouge_l_sampled') return undefined;
  const count = withoutWords(valid);
  if (count === 0) return undefined;
  return `${wordlessNote(count, valid.length, 'validation rows')}; best/ is chosen by it (eval.select: loss chooses by the LM loss)`;
}

/**
 * Bytes of teacher logits that a round may keep on a card: of what is free beside the models that are loaded. A resumed run keeps
 * what it had, for logits that are computed again have other last bits. undefined: the default, where the processor computes.
 */
function logitsBudget(
  before: Record<string, unknown> | undefined,
  now: Record<string, unknown>,
): number | undefined {
  const memory = deviceMemory();
  if (!memory) return undefined;
  const recorded = before?.engine === now.engine ? before?.teacher_logits_bytes : undefined;
  return typeof recorded === 'number' ? recorded : teacherLogitsBudget(memory.free);
}

/** The state to begin with: a fresh one, or the newest checkpoint of the directory. */
async function openState(
  config: TrainConfig,
  materials: Materials,
  out: string,
  options: RunOptions,
): Promise<{ state: TrainingState; resumeAt: number | undefined }> {
  const optimizer = optimizerOf(config);
  const saved = options.resume
    ? await loadLatestCheckpoint(out, config, materials.student, optimizer)
    : undefined;
  if (saved) {
    options.log(`resuming at step ${saved.step} of ${config.train.steps}`);
    // A kill may have come between saving a checkpoint and pruning the ones before it.
    await pruneCheckpoints(out, config.checkpoint.keep);
    disposeParams(materials.student.params);
    return { state: saved, resumeAt: saved.step };
  }
  if (options.resume) refuseFinished(out);
  const { params } = materials.student;
  const state = {
    step: 0,
    round: 0,
    stepInRound: 0,
    params,
    optimizer: optimizer.init(params),
    rollouts: [],
    best: null,
  };
  // A run killed before its first checkpoint begins again: what it logged is dropped.
  return { state, resumeAt: options.resume ? -1 : undefined };
}

async function saveStudent(directory: string, student: Model, materials: Materials): Promise<void> {
  await writeDirectoryAtomic(directory, (temporary) =>
    saveModel(temporary, student, { dtype: 'f32', tokenizerFrom: materials.tokenizerFrom }),
  );
}
