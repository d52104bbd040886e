import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { saveModel } from '../models/checkpoint.js';
import type { Model } from '../models/model.js';
import { disposeState } from '../optim/state.js';
import { disposeParams } from '../tensor/params.js';
import type { TrainConfig } from '../training/config.js';
import { unreadFields } from '../training/fields.js';
import { optimizerOf, trainingLoop } from '../training/loop.js';
import type { TrainingContext } from '../training/method.js';
import { methods } from '../training/methods.js';
import type { TrainingState } from '../training/state.js';
import { writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
import { loadLatestCheckpoint, pruneCheckpoints, saveCheckpoint } from './checkpoint.js';
import { claim } from './claim.js';
import { DriftWatch } from './driftWatch.js';
import { describeEnvironment } from './environment.js';
import { checkInputs } from './inputDigests.js';
import { refuseFinished, tidyUp } from './keep.js';
import { loadMaterials, type Materials } from './materials.js';
import { readMetrics } from './metricsLog.js';
import { stringifyConfig } from './runConfig.js';
import { withRunDate } from './runDate.js';
import { openRunDirectory, refuseOccupied, runPaths, scratchOf } from './runDirectory.js';
import { RunLog } from './runLog.js';
import { type RunOptions, type TrainRunOptions, withDefaults } from './runOptions.js';
import { selectionFor } from './selection.js';
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
  const place = await mkdir(dirname(out), { recursive: true }).then(
    () => true,
    () => false,
  );
  const release = place
    ? await claim(runPaths(out).process, `${out}: process`, 'trains there')
    : async () => {};
  try {
    return await trainIn(config, out, await withDefaults(config, options));
  } finally {
    await release();
  }
}

async function trainIn(given: TrainConfig, out: string, options: RunOptions): Promise<TrainSummary> {
  const config = await withRunDate(given, out, options.log);
  const unread = unreadFields(config);
  if (unread.length > 0) options.log(`note: ${config.method} does not read ${unread.join(', ')}`);
  const materials = await loadMaterials(config, options.log);
  await openRunDirectory(out, stringifyConfig(config), options.resume);
  const paths = runPaths(out);
  const { resume, changedInputs, log } = options;
  await checkInputs(config, out, { resume, changed: changedInputs, log });
  const environment = describeEnvironment(options.backend, config.seed);
  if (options.resume) await sayWhatDiffers(paths.environment, environment, options.log);
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
  const summary: TrainSummary = {
    out,
    method: config.method,
    steps: state.step,
    best: state.best && { ...state.best, metric: selectionFor(config, materials.valid)?.metric ?? 'none' },
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
async function sayWhatDiffers(
  file: string,
  now: Record<string, unknown>,
  log: (line: string) => void,
): Promise<void> {
  const before = await readFile(file, 'utf8')
    .then((text) => JSON.parse(text) as Record<string, unknown>)
    .catch(() => undefined);
  for (const name of ['engine', 'threads', 'package', 'git_commit']) {
    if (before && before[name] !== now[name]) {
      log(`note: ${name} was ${before[name]} and is ${now[name]}: the run goes on, perhaps not bit for bit`);
    }
  }
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
