import { dirname } from 'node:path';
import { Shards } from '../cluster/shards.js';
import { makeDirectory } from '../durable.js';
import { RunError, refusedByDisk } from '../errors.js';
import { withoutWords, wordlessNote } from '../evaluation/wordless.js';
import { saveModel } from '../models/checkpoint.js';
import type { Model } from '../models/model.js';
import { disposeState } from '../optim/state.js';
import { breathe, Stopped } from '../pieces.js';
import { disposeParams } from '../tensor/params.js';
import { stopsAt } from '../text/stopStrings.js';
import type { TrainConfig } from '../training/config.js';
import { withSteps } from '../training/epochs.js';
import { isRead, unreadFields } from '../training/fields.js';
import { trainingLoop } from '../training/loop.js';
import type { TrainingContext } from '../training/method.js';
import { methods } from '../training/methods.js';
import { UNTRAINED } from '../training/selection.js';
import type { TrainingState } from '../training/state.js';
import { writeDirectoryAtomic } from './atomic.js';
import { pruneCheckpoints, saveCheckpoint } from './checkpoint.js';
import { claim } from './claim.js';
import { DriftWatch } from './driftWatch.js';
import { describeEnvironment } from './environment.js';
import { tidyUp } from './keep.js';
import { closeMaterials, loadMaterials, type Materials, readsCorpus } from './materials.js';
import { readMetrics } from './metricsLog.js';
import { freshState, openRun } from './openRun.js';
import { agreeOnRun, shareState } from './ranks.js';
import { openRewards } from './rewards.js';
import { withRunDate } from './runDate.js';
import { refuseOccupied, runPaths, scratchOf, sharedScratch } from './runDirectory.js';
import { RunLog } from './runLog.js';
import { type RunOptions, type TrainRunOptions, withDefaults } from './runOptions.js';
import { selectionFor, withoutValidation } from './selection.js';
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
  const keeps = (options.cluster?.rank ?? 0) === 0;
  if (keeps) refuseOccupied(out, options.resume ?? false);
  // Where no directory can be made, opening the run's own says so.
  let release = async (): Promise<void> => {};
  try {
    if (keeps && canBeMade(dirname(out))) release = await claim(runPaths(out).process, out, 'trains there');
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
    if (materials) closeMaterials(materials);
    if (state) for (const own of [state.params, state.optimizer, state.value ?? {}]) disposeState(own);
  }
}

async function trainHolding(
  held: Held,
  given: TrainConfig,
  out: string,
  options: RunOptions,
): Promise<TrainSummary> {
  const { log, cluster } = options;
  const shards = new Shards(given.train.shards, cluster);
  // One rank keeps the run directory. The others need not see it: they are told what it holds.
  const keeps = cluster.rank === 0;
  const dated = shards.first(keeps ? await withRunDate(given, out, log) : given);
  const unread = unreadFields(dated);
  if (dated.data.corpus && isRead('data.corpus', dated.method) && !readsCorpus(dated))
    unread.push('data.corpus (its lm_coef is 0)');
  if (unread.length > 0) log(`note: ${dated.method} does not read ${unread.join(', ')}`);
  const rewarded = dated.rewards !== undefined || options.rewards.length > 0;
  const materials = await loadMaterials(dated, log, rewarded);
  held.materials = materials;
  const config = withSteps(dated, materials.train.length, log);
  const unvalidated = withoutValidation(config, materials.valid);
  if (unvalidated) log(`note: ${unvalidated}`);
  const environment = describeEnvironment(options.backend, config.seed);
  const digests = await agreeOnRun(cluster, given, environment, log);
  if (rewarded) held.rewards = await openRewards(config, options.rewards, materials.tokenizer);
  const paths = runPaths(out);
  const opened = keeps ? await openRun(config, materials, out, options, { environment, digests }) : undefined;
  const blind = blindSelection(config, materials);
  if (blind) log(`note: ${blind}`);
  const teacherLogitsBytes = shards.first(opened?.teacherLogitsBytes);
  const { state, resumeAt } = shareState(cluster, opened, () => freshState(config, materials));
  if (state.params !== materials.student.params) disposeParams(materials.student.params);
  held.state = state;
  const stop = stopsAt(materials.tokenizer, config.rollout.stop_strings);
  const context: TrainingContext = {
    config,
    student: { ...materials.student, params: state.params },
    teachers: materials.teachers,
    ...(materials.textTeacher && { textTeacher: materials.textTeacher }),
    train: materials.train,
    corpus: materials.corpus,
    eosIds: materials.student.config.eosIds,
    closingId: materials.tokenizer.eosId,
    ...(stop && { stop }),
    scratch: sharedScratch(scratchOf(out), shards),
    ...(teacherLogitsBytes && { teacherLogitsBytes }),
    ...(held.rewards && { rewards: held.rewards }),
    shards,
    log,
    async pause() {
      await breathe();
      if (!options.stopping()) return;
      shards.leave();
      throw new Stopped();
    },
  };
  const method = methods[config.method]();
  const runLog = keeps
    ? RunLog.open(out, {
        resumeAt,
        unvalidated: state.unvalidated ?? false,
        steps: config.train.steps,
        label: config.method,
        quiet: options.quiet,
        period: method.stepsPerRound?.(context) ?? 1,
      })
    : undefined;
  const save = (directory: string, student: Model) => saveStudent(directory, student, materials);
  const keeper = runLog && { out, runLog, watch: DriftWatch.from(readMetrics(paths.metrics)), save };
  const untimed = runLog ? runLog.untimed.bind(runLog) : (work: () => Promise<void>) => work();
  const why = (): string | undefined => runLog && whySpent(config, state, runLog);
  try {
    await trainingLoop(context, method, state, {
      onStep: async (record) => {
        runLog?.step(record);
        if (keeps) await untimed(async () => void (await options.onStep?.(record)));
      },
      evaluate: () =>
        untimed(async () => {
          if (unvalidated) return;
          const record = await validate({ context, method, materials, keeper }, state);
          if (keeps) await options.onEvaluate?.(record);
        }),
      checkpoint: () =>
        untimed(async () => {
          if (keeps) {
            runLog?.sync();
            const directory = await saveCheckpoint(
              out,
              state,
              context.student,
              materials.tokenizerFrom,
              shards.count,
            );
            await pruneCheckpoints(out, config.checkpoint.keep);
            await options.onCheckpoint?.({ step: state.step, directory });
          }
          // Whoever ends before it is written would have the launcher end all.
          shards.cluster.barrier();
        }),
      stopping: () => shards.any(options.stopping()),
      spent: () => shards.first(why() !== undefined),
    });
    const spent = why();
    if (spent) log(`${spent}: ended at step ${state.step} of ${config.train.steps}`);
    if (keeps) await save(paths.final, context.student);
  } finally {
    method.dispose?.();
    runLog?.close();
  }
  if (keeps) log(await tidyUp(out, options.keep));
  return {
    out,
    method: config.method,
    steps: state.step,
    best: state.best && { ...state.best, metric: selectionFor(config, materials.valid)?.metric ?? 'none' },
    train_seconds: Math.round((runLog?.trainSeconds ?? 0) * 10) / 10,
    teacher_tokens: runLog?.teacherTokens ?? 0,
    final: paths.final,
    notes: [
      ...[unvalidated, blind].flatMap((note) => note ?? []),
      ...(state.best?.step === 0 && state.step > 0 ? [UNTRAINED] : []),
    ],
  };
}

/** A line where best/ is chosen by a Rouge-L that cannot see the references. */
function blindSelection(config: TrainConfig, { valid }: Materials): string | undefined {
  if (selectionFor(config, valid)?.metric !== 'rouge_l_sampled') return undefined;
  const count = withoutWords(valid);
  if (count === 0) return undefined;
  return `${wordlessNote(count, valid.length, 'validation rows')}; best/ is chosen by it (eval.select: loss chooses by the LM loss)`;
}

async function saveStudent(directory: string, student: Model, materials: Materials): Promise<void> {
  await writeDirectoryAtomic(directory, (temporary) =>
    saveModel(temporary, student, { dtype: 'f32', tokenizerFrom: materials.tokenizerFrom }),
  );
}
