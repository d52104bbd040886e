import { trainedParameters } from '../models/lora.js';
import { countOf, parameterCount } from '../models/model.js';
import { deviceMemory } from '../tensor/deviceMemory.js';
import type { TrainConfig } from '../training/config.js';
import { isCached } from '../training/knownTeacher.js';
import { optimizerOf } from '../training/loop.js';
import type { TrainingState } from '../training/state.js';
import { teacherLogitsBudget } from '../training/teacherLogits.js';
import { writeFileAtomic } from './atomic.js';
import { untrainedBest } from './bestChoice.js';
import { loadLatestCheckpoint, pruneCheckpoints } from './checkpoint.js';
import { readEnvironment, sayWhatDiffers } from './environment.js';
import { checkInputs, type Digests } from './inputDigests.js';
import { refuseFinished } from './keep.js';
import { acceptChanges } from './lengthen.js';
import type { Materials } from './materials.js';
import { stringifyConfig } from './runConfig.js';
import { openRunDirectory, runPaths } from './runDirectory.js';
import type { RunOptions } from './runOptions.js';

/** What a run begins with, out of its directory. */
export interface OpenedRun {
  state: TrainingState;
  /** Step of the checkpoint; −1 where a resumed run has none, undefined for a new run. */
  resumeAt: number | undefined;
  /** For a card: see `TrainingContext`. */
  teacherLogitsBytes: number | undefined;
}

/** What is known of a run when its directory is opened. */
export interface RunFacts {
  /** `describeEnvironment` */
  environment: Record<string, unknown>;
  /** Of its inputs, where they have been read. */
  digests: Digests | undefined;
}

/**
 * Opens the directory of a run, writes down what it is (configuration, digests of its inputs, environment), and reads the newest
 * checkpoint where it goes on.
 *
 * @throws UsageError if the directory holds another run, or inputs were replaced, or the checkpoint is damaged
 */
export async function openRun(
  config: TrainConfig,
  materials: Materials,
  out: string,
  options: RunOptions,
  { environment: now, digests }: RunFacts,
): Promise<OpenedRun> {
  const { resume, changedInputs, log } = options;
  if (resume) await acceptChanges(out, config, log);
  await openRunDirectory(out, stringifyConfig(config), resume);
  await checkInputs(config, out, { resume, changed: changedInputs, digests, log });
  if (typeof config.student === 'string') {
    const untrained = await untrainedBest(config.student);
    if (untrained) log(`note: student ${untrained}`);
  }
  const before = resume ? await readEnvironment(out) : undefined;
  if (before) sayWhatDiffers(before, now, log);
  const teacherLogitsBytes = logitsBudget(before, now);
  const environment = {
    ...now,
    ...(options.cluster.size > 1 && { processes: options.cluster.size }),
    ...(teacherLogitsBytes && { teacher_logits_bytes: teacherLogitsBytes }),
    started: before?.started ?? new Date().toISOString(),
    student_parameters: parameterCount(materials.student.config),
    ...(materials.student.config.lora && {
      trained_parameters: countOf(trainedParameters(materials.student.config)),
    }),
    ...(materials.teachers.some((teacher) => !isCached(teacher)) && {
      teacher_parameters: materials.teachers.map((teacher) => parameterCount(teacher.config)),
    }),
  };
  await writeFileAtomic(runPaths(out).environment, `${JSON.stringify(environment, null, 2)}\n`);
  return { ...(await openState(config, materials, out, options)), teacherLogitsBytes };
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
  const saved = options.resume
    ? await loadLatestCheckpoint(out, config, materials.student, optimizerOf(config))
    : undefined;
  if (saved) {
    options.log(`resuming at step ${saved.step} of ${config.train.steps}`);
    // A kill may have come between saving a checkpoint and pruning the ones before it.
    await pruneCheckpoints(out, config.checkpoint.keep);
    return { state: saved, resumeAt: saved.step };
  }
  if (options.resume) refuseFinished(out);
  // A run killed before its first checkpoint begins again: what it logged is dropped.
  return { state: freshState(config, materials), resumeAt: options.resume ? -1 : undefined };
}

/** Before the first step. Its parameters are those of the student that was loaded. */
export function freshState(config: TrainConfig, { student }: Materials): TrainingState {
  const { params } = student;
  return {
    step: 0,
    round: 0,
    stepInRound: 0,
    params,
    optimizer: optimizerOf(config).init(params),
    rollouts: [],
    best: null,
  };
}
