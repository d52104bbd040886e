import * as tf from '@tensorflow/tfjs-core';
import { oneShard, type Shards } from '../cluster/shards.js';
import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import {
  cutVocabulary,
  type PackedBatch,
  packSequences,
  responseLogits,
  type Sequence,
} from '../models/packed.js';
import { type BatchTotals, batchTotals } from '../objectives/aggregate.js';
import type { Pieces } from '../pieces.js';
import type { Params } from '../tensor/params.js';
import { askTeacher, isCached, teacherOf } from './knownTeacher.js';
import type { Method, MicroBatch, StepPlan, TrainingContext } from './method.js';
import { ownMicroBatches } from './microBatches.js';
import { batchIndices } from './order.js';
import type { TrainingState } from './state.js';

/**
 * The loss of a micro-batch from its logits [N, V] at the response positions, divided by the totals of the whole
 * optimizer batch, and the parts of it worth logging.
 */
export type ResponseLoss = (
  logits: tf.Tensor2D,
  targets: tf.Tensor1D,
  teacherLogits: readonly tf.Tensor2D[],
  totals: BatchTotals,
) => { loss: tf.Scalar; parts: Record<string, tf.Scalar> };

export interface SupervisedOptions {
  teachers: boolean;
  /** What step s learns from; default: batch s of the training data. */
  batch?: (context: TrainingContext, state: TrainingState) => readonly Sequence[];
  /** What the loss is taken on in validation; default: the gold responses. */
  validation?: (context: TrainingContext, examples: readonly Example[]) => Pieces<readonly Sequence[]>;
}

/**
 * A method that learns from given responses. They differ only in the loss of a response; which examples make up step s
 * (a function of the seed and s), the micro-batches and the mean over the whole optimizer batch are the same for
 * all. (A mean of micro-batch means would weigh a token by the length of its neighbours.)
 */
export function supervised(
  lossOf: (context: TrainingContext) => ResponseLoss,
  options: SupervisedOptions,
): Method {
  const lossesOn = (context: TrainingContext, sequences: readonly Sequence[]): MicroBatch[] => {
    const totals = batchTotals(sequences.map((s) => s.responseIds.length));
    const lossOfBatch = lossOf(context);
    const { micro_batch_size } = context.config.train;
    const asked = context.teachers;
    const vocabulary = sharedVocabulary(context);
    return ownMicroBatches(sequences, micro_batch_size, context.shards).map(({ part, shard }): MicroBatch => {
      const batch = packSequences(part);
      return {
        shard,
        constants: () => [
          tf.tensor1d(batch.targets, 'int32'),
          ...(options.teachers ? asked.flatMap((teacher) => askTeacher(teacher, batch, vocabulary)) : []),
        ],
        loss(params, [targets, ...said]) {
          const logits = sharedLogits(context, params, context.student, batch);
          const each = said.length / asked.length; // a cache is the only teacher
          const teachers =
            said.length === 0
              ? []
              : asked.map((teacher, i) => teacherOf(teacher, logits, said.slice(i * each, (i + 1) * each)));
          return lossOfBatch(logits, targets as tf.Tensor1D, teachers, totals);
        },
      };
    });
  };
  return {
    step(context, state): StepPlan {
      const sequences = options.batch?.(context, state) ?? batchOf(context.train, context, state);
      return {
        micro: lossesOn(context, sequences),
        metrics: { response_length: responseTokens(sequences) / sequences.length },
        tokens: allTokens(sequences),
        teacherTokens: options.teachers
          ? context.teachers.filter((teacher) => !isCached(teacher)).length * allTokens(sequences)
          : 0,
      };
    },
    *objective(context, examples) {
      const sequences = options.validation ? yield* options.validation(context, examples) : examples;
      return yield* lossWithoutGradient(lossesOn(context, sequences), context);
    },
  };
}

/** The loss of a batch without a gradient, from this rank's micro-batches of it. */
function* lossWithoutGradient(
  micro: readonly MicroBatch[],
  { student, shards = oneShard }: Models,
): Pieces<number> {
  const sums = shards.own.map(() => 0);
  for (const part of micro) {
    const constants = part.constants();
    const loss = tf.tidy(() => part.loss(student.params, constants).loss);
    sums[shards.own.indexOf(part.shard ?? 0)]! += loss.dataSync()[0]!;
    tf.dispose([loss, ...constants]);
    yield;
  }
  shards.meet();
  return shards.together(sums).reduce((total, sum) => total + sum, 0);
}

/** The examples of this optimizer step. */
export function batchOf<T>(
  all: { readonly length: number; at(place: number): T | undefined },
  { config }: TrainingContext,
  state: TrainingState,
): T[] {
  return batchIndices(config.seed, 'train', state.step, all.length, config.train.batch_size).map(
    (i) => all.at(i)!,
  );
}

/** The models of a run: all that a loss needs of the context. */
export interface Models {
  student: Model;
  teachers: Model[];
  /** Bytes of teacher logits that a round may keep, on a card; default 1 GiB. */
  teacherLogitsBytes?: number;
  /** How the rows of batches are shared out; default: one shard, here. */
  shards?: Shards;
}

/** Logits [N, V] of one model at the response positions, cut to the vocabulary that student and teachers share. */
export function sharedLogits(models: Models, params: Params, model: Model, batch: PackedBatch): tf.Tensor2D {
  return cutVocabulary(responseLogits(params, model, batch), sharedVocabulary(models));
}

/** `sharedLogits` of every teacher, outside any tape. */
export function teacherLogits(models: Models, batch: PackedBatch): tf.Tensor2D[] {
  return models.teachers.map((teacher) =>
    tf.tidy(() => sharedLogits(models, teacher.params, teacher, batch)),
  );
}

export function sharedVocabulary({ student, teachers }: Models): number {
  return Math.min(student.config.vocabSize, ...teachers.map((t) => t.config.vocabSize));
}

export function responseTokens(sequences: readonly Sequence[]): number {
  return sequences.reduce((sum, s) => sum + s.responseIds.length, 0);
}

export function allTokens(sequences: readonly Sequence[]): number {
  return sequences.reduce((sum, s) => sum + s.promptIds.length + s.responseIds.length, 0);
}
