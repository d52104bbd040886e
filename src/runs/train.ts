import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { saveModel } from '../models/checkpoint.js';
import type { Model } from '../models/model.js';
import { disposeState } from '../optim/state.js';
import type { BackendInfo } from '../tensor/backend.js';
import { deviceMemory } from '../tensor/deviceMemory.js';
import { disposeParams } from '../tensor/params.js';
import type { TrainConfig } from '../training/config.js';
import { unreadFields } from '../training/fields.js';
import { optimizerOf, trainingLoop } from '../training/loop.js';
import type { TrainingContext } from '../training/method.js';
import { methods } from '../training/methods.js';
import type { TrainingState } from '../training/state.js';
import { teacherLogitsBudget } from '../training/teacherLogits.js';
import { writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
import { loadLatestCheckpoint, pruneCheckpoints, saveCheckpoint } from './checkpoint.js';
import { claim } from './claim.js';
import { DriftWatch } from './driftWatch.js';
import { describeEnvironment, readEnvironment } from './environment.js';
import { checkInputs } from './inputDigests.js';
import { loadMaterials, type Materials } from './materials.js';
import { readMetrics } from './metricsLog.js';
import { stringifyConfig } from './runConfig.js';
import { withRunDate } from './runDate.js';
import { openRunDirectory, refuseOccupied, runPaths, scratchOf } from './runDirectory.js';
import { RunLog } from './runLog.js';
import { selectionOf, validate } from './validation.js';

export interface TrainRunOptions {
  resume: boolean;
  /** Goes on although data or models were replaced since the run began. */
  changedInputs?: boolean;
  backend: BackendInfo;
  log: (line: string) => void;
  quiet: boolean;
  /** True once Ctrl-C was pressed. */
  stopping: () => boolean;
}

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
}

/**
 * One training run from a configuration to `best/` and `final/`, in a directory of its own.
 *
 * @throws UsageError if the directory holds another run, or another process is at work in it, or its inputs were replaced
 */
export async function runTraining(
  given: TrainConfig,
  out: string,
  options: TrainRunOptions,
): Promise<TrainSummary> {
  refuseOccupied(out, options.resume);
  // Where no directory can be made, opening the run's own says so.
  const place = await mkdir(dirname(out), { recursive: true }).then(
    () => true,
    () => false,
  );
  const release = place
    ? await claim(runPaths(out).process, `${out}: process`, 'trains there')
    : async () => {};
  try {
    return await trainIn(given, out, options);
  } finally {
    await release();
  }
}

async function trainIn(given: TrainConfig, out: string, options: TrainRunOptions): Promise<TrainSummary> {
  const config = await withRunDate(given, out, options.log);
  const unread = unreadFields(config);
  if (unread.length > 0) options.log(`note: ${config.method} does not read ${unread.join(', ')}`);
  const materials = await loadMaterials(config, options.log);
  await openRunDirectory(out, stringifyConfig(config), options.resume);
  const paths = runPaths(out);
  const { resume, changedInputs = false, log } = options;
  await checkInputs(config, out, { resume, changed: changedInputs, log });
  const before = resume ? await readEnvironment(out) : undefined;
  const now = describeEnvironment(options.backend, config.seed);
  if (before) sayWhatDiffers(before, now, log);
  const teacherLogitsBytes = logitsBudget(before, now);
  const environment = { ...now, ...(teacherLogitsBytes && { teacher_logits_bytes: teacherLogitsBytes }) };
  await writeFileAtomic(paths.environment, `${JSON.stringify(environment, null, 2)}\n`);
  const { state, resumeAt } = await openState(config, materials, out, options);
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
    log: options.log,
  };
  const method = methods[config.method]();
  const runLog = RunLog.open(out, {
    resumeAt,
    steps: config.train.steps,
    label: config.method,
    quiet: options.quiet,
  });
  const validation = {
    ...{ context, method, materials, out, runLog, watch: DriftWatch.from(readMetrics(paths.metrics)) },
    save: (directory: string, student: Model) => saveStudent(directory, student, materials),
  };
  try {
    await trainingLoop(context, method, state, {
      onStep: (record) => runLog.step(record),
      evaluate: () => runLog.untimed(() => validate(validation, state)),
      checkpoint: () =>
        runLog.untimed(async () => {
          await saveCheckpoint(out, state, context.student, materials.tokenizerFrom);
          await pruneCheckpoints(out, config.checkpoint.keep);
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
  const summary: TrainSummary = {
    out,
    method: config.method,
    steps: state.step,
    best: state.best && { ...state.best, metric: selectionOf(config).metric },
    train_seconds: Math.round(runLog.trainSeconds * 10) / 10,
    teacher_tokens: runLog.teacherTokens,
    final: paths.final,
  };
  disposeParams(state.params);
  disposeState(state.optimizer);
  if (state.value) disposeState(state.value);
  for (const teacher of materials.teachers) disposeParams(teacher.params);
  return summary;
}

/** What ends a run before its last step, in words. */
function whySpent(
  { train, eval: validation }: TrainConfig,
  state: TrainingState,
  runLog: RunLog,
): string | undefined {
  const { max_seconds, max_teacher_tokens } = train;
  if (max_seconds !== undefined && runLog.trainSeconds >= max_seconds)
    return `train.max_seconds ${max_seconds} are used up`;
  if (max_teacher_tokens !== undefined && runLog.teacherTokens >= max_teacher_tokens)
    return `train.max_teacher_tokens ${max_teacher_tokens} are used up`;
  const { patience, every } = validation;
  if (patience !== undefined && state.best && state.step - state.best.step >= patience * every)
    return `eval.patience ${patience}: no validation since step ${state.best.step} was better`;
  return undefined;
}

/** A resumed run repeats the uninterrupted one to the bit only where the same arithmetic goes on. */
function sayWhatDiffers(
  before: Record<string, unknown>,
  now: Record<string, unknown>,
  log: (line: string) => void,
): void {
  for (const name of ['engine', 'threads', 'package', 'git_commit']) {
    if (before[name] !== now[name]) {
      log(`note: ${name} was ${before[name]} and is ${now[name]}: the run goes on, perhaps not bit for bit`);
    }
  }
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
  options: TrainRunOptions,
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
