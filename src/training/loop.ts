import { oneShard, type Shards } from '../cluster/shards.js';
import { RunError } from '../errors.js';
import { adamw, type Optimizer } from '../optim/adamw.js';
import { type Schedule, schedules } from '../optim/schedules.js';
import { breathe, type Pieces, paused, Stopped, whole } from '../pieces.js';
import { TeacherLost } from '../scoring/blockingHttp.js';
import { disposeParams } from '../tensor/params.js';
import type { TrainConfig } from './config.js';
import { gradientPieces } from './gradients.js';
import type { Method, StepPlan, TrainingContext } from './method.js';
import type { TrainingState } from './state.js';
import { RewardFailed } from './taskRewards.js';

/** What one optimizer step leaves behind. */
export interface StepRecord {
  /** Optimizer steps done, this one included. */
  step: number;
  /** Rounds of on-policy sampling begun; 0 for methods without rounds. */
  round: number;
  /** Loss and its parts, gradient norm, learning rate, and what the method knows of its batch: the names of metrics.jsonl. */
  metrics: Record<string, number>;
  /** Tokens that the loss looked at. */
  tokens: number;
  /** Tokens that teachers read or wrote. */
  teacherTokens: number;
}

/** What the run does around the steps; the loop itself touches no file. */
export interface TrainingHooks {
  /** May be asynchronous; the next step waits for it. */
  onStep(record: StepRecord): void;
  /** Validates; a new best goes into `state.best`. */
  evaluate(state: TrainingState): Promise<void>;
  checkpoint(state: TrainingState): Promise<void>;
  /** True once the person asked to stop (Ctrl-C). */
  stopping(): boolean;
  /** True once the run's share of time, teacher tokens or patience is used up: it then ends as after its last step. */
  spent?(): boolean;
}

/**
 * The one training loop. Methods differ in `collect` and `step` only; batches, accumulation, clipping, AdamW, the
 * schedule, validation, checkpoints and stopping are the same for all of them, so that a comparison means something.
 *
 * @throws RunError when a loss or gradient is not finite (the parameters of the step before are kept), on Ctrl-C, or when a
 *   remote teacher is lost or a reward fails; after all but the first the last whole step is saved
 */
export async function trainingLoop(
  context: TrainingContext,
  method: Method,
  state: TrainingState,
  hooks: TrainingHooks,
): Promise<void> {
  const { config } = context;
  const optimizer = optimizerOf(config);
  const { steps } = config.train;
  const evaluate = async (): Promise<void> => {
    state.unvalidated = true;
    await hooks.evaluate(state);
    delete state.unvalidated;
  };
  const over = (): boolean => state.step >= steps || hooks.spent?.() === true;
  let saved = state.step;
  const checkpoint = async (): Promise<void> => {
    assertFinite(optimizer, state, context.shards);
    await hooks.checkpoint(state);
    saved = state.step;
  };
  const gaveUp = async (error: unknown): Promise<never> => {
    const lost = error instanceof TeacherLost || error instanceof RewardFailed;
    if (!(error instanceof Stopped || lost)) throw error;
    // Its own teacher or reward: the other ranks stop where they next come together.
    if (lost) context.shards?.leave();
    if (state.step > saved) await checkpoint();
    if (error instanceof Stopped) throw stopped(state, steps);
    if (state.step === 0) throw error;
    throw new RunError(
      `${error.message}; stopped after step ${state.step} of ${steps}, saved; go on with --resume`,
    );
  };
  try {
    await method.prepare?.(context);
    if (state.step === 0) await evaluate();
    if (state.unvalidated) {
      await evaluate();
      await checkpoint();
    }
    if (!over() && !startsRound(context, method, state)) await method.reenter?.(context, state);
  } catch (error) {
    await gaveUp(error);
  }
  while (!over()) {
    const before = { ...state };
    try {
      await hooks.onStep(await takeStep(context, method, state, optimizer));
      if (over() || isDue(state.step, config.eval.every)) await evaluate();
    } catch (error) {
      if (state.step === before.step) takeBack(state, before);
      await gaveUp(error);
    }
    const last = over(); // asked anew: a validation may use up the patience
    const stops = !last && hooks.stopping();
    if (last || stops || isDue(state.step, config.checkpoint.every)) await checkpoint();
    if (stops) throw stopped(state, steps);
    await breathe();
  }
}

function stopped({ step }: TrainingState, steps: number): RunError {
  const what =
    step > 0
      ? `stopped at step ${step} of ${steps}, saved; go on with --resume`
      : 'stopped before the first step; --resume begins again';
  return new RunError(what, 130);
}

async function takeStep(
  context: TrainingContext,
  method: Method,
  state: TrainingState,
  optimizer: Optimizer,
): Promise<StepRecord> {
  const collected =
    method.collect && startsRound(context, method, state) ? await beginRound(context, method, state) : {};
  const plan = method.step(context, state);
  // A step that has begun is finished: signals are heard, and nothing is given up.
  const measured = await paused(optimizerStepPieces(optimizer, plan, state, context));
  state.step++;
  state.stepInRound++;
  return {
    step: state.step,
    round: state.round,
    metrics: { ...collected, ...plan.metrics, ...measured },
    tokens: plan.tokens,
    teacherTokens: plan.teacherTokens ?? 0,
  };
}

/** The state before a step that was broken off. Only a value head that has learned from the new round stays: it took the old one's place. */
function takeBack(state: TrainingState, before: TrainingState): void {
  const { value } = state;
  for (const name of Object.keys(state) as (keyof TrainingState)[]) if (!(name in before)) delete state[name];
  Object.assign(state, before, before.value && { value });
}

/** A checkpoint of diverged parameters would push out the last good one. */
function assertFinite(
  optimizer: Optimizer,
  { params, step }: TrainingState,
  shards: Shards = oneShard,
): void {
  const norm = optimizer.globalNorm(params);
  if (!Number.isFinite(norm)) throw diverged(`the norm of the parameters is ${norm} after step ${step}`);
  const other = shards.each(norm).findIndex((x) => x !== norm);
  // Every rank takes the step for itself: where processors round differently, the students part.
  if (other >= 0)
    throw new RunError(
      `after step ${step} the parameters of rank ${other} are not those of rank ${shards.cluster.rank}: their engines round differently; use machines of one kind; checkpoints saved before are intact`,
    );
}

function diverged(what: string): RunError {
  return new RunError(
    `${what}; checkpoints saved before are intact; try a smaller train.lr, more train.warmup, or train.clip: 1`,
  );
}

/** Whether something that happens every so many steps (0 = never) happens after this one. */
export function isDue(step: number, every: number): boolean {
  return every > 0 && step % every === 0;
}

function startsRound(context: TrainingContext, method: Method, state: TrainingState): boolean {
  return state.round === 0 || state.stepInRound >= (method.stepsPerRound?.(context) ?? 0);
}

async function beginRound(
  context: TrainingContext,
  method: Method,
  state: TrainingState,
): Promise<Record<string, number>> {
  state.round++;
  state.stepInRound = 0;
  return method.collect!(context, state);
}

/** The learning rate of every step of a run. */
export function learningRateOf({ train }: TrainConfig): Schedule {
  const { lr, schedule, min_lr_ratio, warmup, steps } = train;
  return schedules[schedule]({ peak: lr, warmup, steps, floor: lr * min_lr_ratio });
}

export function optimizerOf(config: TrainConfig): Optimizer {
  const { weight_decay, betas, eps, clip } = config.train;
  return adamw({
    learningRate: learningRateOf(config),
    beta1: betas[0],
    beta2: betas[1],
    eps,
    weightDecay: weight_decay,
    ...(clip > 0 && { clip }),
  });
}

/** One optimizer step: the micro-batches' gradients added up, clipped, through AdamW, into the parameters. */
export function optimizerStep(...given: Parameters<typeof optimizerStepPieces>): Record<string, number> {
  return whole(optimizerStepPieces(...given));
}

/** `optimizerStep`, a micro-batch at a time. */
function* optimizerStepPieces(
  optimizer: Optimizer,
  plan: StepPlan,
  state: TrainingState,
  context: TrainingContext,
): Pieces<Record<string, number>> {
  const { values: sums, grads } = yield* gradientPieces(plan.micro, state.params, context.shards);
  if (!grads) throw new RunError(`step ${state.step + 1} has an empty batch`);
  const gradNorm = optimizer.globalNorm(grads);
  const bad = Object.entries({ ...sums, grad_norm: gradNorm }).find(([, value]) => !Number.isFinite(value));
  if (bad) {
    disposeParams(grads);
    throw diverged(`${bad[0]} is ${bad[1]} at step ${state.step + 1}`);
  }
  const next = optimizer.step(grads, state.optimizer, state.params, gradNorm);
  disposeParams(grads);
  state.params = next.params;
  state.optimizer = next.state;
  context.student.params = next.params;
  return { ...sums, grad_norm: gradNorm, lr: next.learningRate };
}
