import type * as tf from '@tensorflow/tfjs-core';
import type { Shards } from '../cluster/shards.js';
import type { Example, Examples } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import type { Params } from '../tensor/params.js';
import type { TrainConfig } from './config.js';
import type { Rewards } from './rewardSource.js';
import type { TrainingState } from './state.js';

/** What a method works with; nothing in it changes during training but the parameters of the student. */
export interface TrainingContext {
  config: TrainConfig;
  /** `student.params` is the state's parameter record. */
  student: Model;
  teachers: Model[];
  /** What the teacher says of the plain text, where it lies in a cache; default: the first teacher is asked. */
  textTeacher?: Model;
  train: Examples;
  /** Plain text cut into equal pieces of token ids; empty when there is none. */
  corpus: Int32Array[];
  /** Tokens that end a response. */
  eosIds: readonly number[];
  /** The one of them that training data ends with; default the first. */
  closingId?: number;
  /** Whether a sampled response ends with its last token, at a stop string (`stopsAt`); absent without any. */
  stop?: (responseIds: readonly number[]) => boolean;
  /** A place for what is computed once and must survive a resume (`seqkd`'s pseudo-responses). */
  scratch: Scratch;
  /** Bytes of teacher logits that a round may keep, on a card; default 1 GiB. */
  teacherLogitsBytes?: number;
  /** Of a task, beside the teacher's; `minillm` and `opd` ask for them. */
  rewards?: Rewards;
  /** How rows are shared out; default: one shard, here. */
  shards?: Shards;
  log: (line: string) => void;
  /** Between the pieces of what is sampled; throws `Stopped` to give it up. Default: signals and timers are let through. */
  pause?: () => Promise<void>;
}

export interface Scratch {
  /** A file as messages name it; absent where there are no files. */
  place?(name: string): string;
  read(name: string): Promise<string | undefined>;
  write(name: string, text: string): Promise<void>;
}

/**
 * One micro-batch of an optimizer step. Its loss is divided by the whole batch's denominators, so losses and
 * gradients of the micro-batches add up to the batch's, however it is cut.
 */
export interface MicroBatch {
  /** Of which shard of the batch; default 0. */
  shard?: number;
  /** What the loss needs and does not differentiate (targets, teacher logits, ...): made outside the tape, disposed by the loop. */
  constants(): tf.Tensor[];
  loss(params: Params, constants: tf.Tensor[]): { loss: tf.Scalar; parts: Record<string, tf.Scalar> };
}

export interface StepPlan {
  /** Of this rank's shards. */
  micro: MicroBatch[];
  /** What is known before the backward pass (rewards, lengths, weights, ...), logged with the step. */
  metrics: Record<string, number>;
  /** Tokens that the loss of this step looks at, for the rate. */
  tokens: number;
  /** Tokens that teachers read or wrote for this step, and for the round or run that it begins; default 0. */
  teacherTokens?: number;
}

/** A training method is a value: what it does before a run, before a round, and the loss of a step. */
export interface Method {
  /** Once before the first step, and again after a resume. */
  prepare?(context: TrainingContext): Promise<void>;
  /** Fills `state.rollouts` for a new round. A method without it has no rounds. */
  collect?(context: TrainingContext, state: TrainingState): Promise<Record<string, number>>;
  /** After a resume in the middle of a round: what `collect` had left on the device. */
  reenter?(context: TrainingContext, state: TrainingState): Promise<void>;
  /** Optimizer steps that one round feeds. */
  stepsPerRound?(context: TrainingContext): number;
  step(context: TrainingContext, state: TrainingState): StepPlan;
  /**
   * The method's own loss on validation examples, logged as `valid_objective`. Absent where it is a metric of every
   * validation already (`sft`: the LM loss; `minillm`, `opd`: the reverse KL of samples).
   */
  objective?(context: TrainingContext, examples: readonly Example[]): Pieces<number>;
  /** Told the LM loss of every validation, before the checkpoint of that step (`distillm`). */
  validated?(context: TrainingContext, state: TrainingState, lmLoss: number): void;
  /** Frees what `prepare` and `collect` keep on the device. */
  dispose?(): void;
}
