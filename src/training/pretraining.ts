import * as tf from '@tensorflow/tfjs-core';
import type { Model } from '../models/model.js';
import { type PackedBatch, packSequences, type Sequence, textSequence } from '../models/packed.js';
import { kdLoss } from '../objectives/kd.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import { crossEntropyToTeacher } from '../tensor/ops/index.js';
import { askTeacher, teacherOf } from './knownTeacher.js';
import type { MicroBatch, TrainingContext } from './method.js';
import { ownMicroBatches } from './microBatches.js';
import { batchIndices } from './order.js';
import type { TrainingState } from './state.js';
import { type Models, responseTokens, sharedLogits, sharedVocabulary, teacherLogits } from './supervised.js';

/**
 * The pretraining loss of MiniLLM on pieces of plain text, token mean, temperature 1:
 *
 *     lm_coef · [ (1 − k)·CE + k·soft CE to the teacher ],   k = kd_ratio
 *
 * The paper (Algorithm 1) has CE alone (k = 0); the official code mixes in the teacher at k = 0.5 (LMOps losses.py,
 * pt_loss). Returns no micro-batch without a corpus or with lm_coef 0. The teacher runs only where k > 0.
 *
 * `pretrain.rows: step` takes fresh rows at every optimizer step, as both do. `round` gives a round as many rows as one
 * pass needs and meets them again in every pass over its rollouts, so that `teacher` runs on each once.
 */
export function pretrainingBatches(
  context: TrainingContext,
  state: TrainingState,
  objective: ObjectiveConfig,
  teacher: TextTeacher,
): MicroBatch[] {
  const { corpus, config } = context;
  if (objective.lm_coef === 0 || corpus.length === 0) return [];
  const size = config.pretrain.batch_size ?? config.train.batch_size;
  const perPass = config.rollout.rollouts / config.train.batch_size;
  const number =
    config.pretrain.rows === 'step'
      ? state.step
      : (state.round - 1) * perPass + (state.stepInRound % perPass);
  const pieces = batchIndices(config.seed, 'pretrain', number, corpus.length, size).map((i) =>
    textSequence(corpus[i]!),
  );
  const logitsOf =
    context.textTeacher || config.pretrain.rows === 'step' || config.rollout.inner_epochs === 1
      ? undefined
      : (batch: PackedBatch, part: number) =>
          teacher.logits(context, state.round, `${number}/${part}`, batch);
  return textBatches(context, pieces, objective, config.train.micro_batch_size, {
    logitsOf,
    teacher: context.textTeacher,
  });
}

/** Tokens that the teacher reads for the pretraining loss of this step; a later pass over the same rows reads nothing. */
export function pretrainingTeacherTokens(
  { corpus, config, textTeacher }: TrainingContext,
  state: TrainingState,
  { lm_coef, kd_ratio }: ObjectiveConfig,
): number {
  const { rollouts } = config.rollout;
  const { batch_size } = config.train;
  const known = config.pretrain.rows === 'round' && state.stepInRound >= rollouts / batch_size;
  if (lm_coef === 0 || kd_ratio === 0 || corpus.length === 0 || known || textTeacher) return 0;
  return (config.pretrain.batch_size ?? batch_size) * config.pretrain.length;
}

/** Bytes of the teacher's logits on pretraining rows that are kept. */
const LIMIT = 1 << 28;

/** How many of `tokens` have their teacher logits kept for the later passes of a round. */
export function keptTextLogits(tokens: number, vocabulary: number): number {
  return Math.min(tokens, Math.floor(LIMIT / (4 * vocabulary)));
}

/** The teacher's logits on the pretraining rows of a round, as far as they fit; the rest is computed at every pass. */
export class TextTeacher {
  constructor(private readonly limit = LIMIT) {}

  private round = -1;
  private readonly kept = new Map<string, tf.Tensor2D>();

  /** The logits [N, V] of a batch, named by `key` within its round; the caller disposes. */
  logits(models: Models, round: number, key: string, batch: PackedBatch): tf.Tensor2D {
    if (round !== this.round) this.dispose();
    this.round = round;
    const known = this.kept.get(key);
    if (known) return known.clone();
    const logits = teacherLogits(models, batch)[0]!;
    const bytes = [...this.kept.values(), logits].reduce((sum, { size }) => sum + 4 * size, 0);
    if (bytes <= this.limit) this.kept.set(key, logits.clone());
    return logits;
  }

  dispose(): void {
    tf.dispose([...this.kept.values()]);
    this.kept.clear();
  }
}

/**
 * The pretraining loss of given texts, divided by all tokens they predict.
 *
 * @param options.withTeacher run the teacher: for the loss itself only needed where k > 0; else it is only reported
 *   (`ds_loss`) @param options.logitsOf its logits on a micro-batch, where they are kept @param options.teacher default: the first
 */
export function textBatches(
  models: Models,
  texts: readonly Sequence[],
  { lm_coef, kd_ratio }: Pick<ObjectiveConfig, 'lm_coef' | 'kd_ratio'>,
  microBatchSize: number | undefined,
  options: {
    withTeacher?: boolean;
    logitsOf?: ((batch: PackedBatch, part: number) => tf.Tensor2D) | undefined;
    teacher?: Model | undefined;
  } = {},
): MicroBatch[] {
  const { withTeacher = kd_ratio > 0, logitsOf, teacher: asked = models.teachers[0] } = options;
  const tokens = responseTokens(texts);
  return ownMicroBatches(texts, microBatchSize, models.shards).map(({ part, shard }, index): MicroBatch => {
    const batch = packSequences(part);
    const ask = (): tf.Tensor[] => {
      const logits = logitsOf?.(batch, index);
      return logits ? [logits] : askTeacher(asked!, batch, sharedVocabulary(models));
    };
    return {
      shard,
      constants: () => [tf.tensor1d(batch.targets, 'int32'), ...(withTeacher ? ask() : [])],
      loss(params, [targets, ...said]) {
        const logits = sharedLogits(models, params, models.student, batch);
        const teacher = withTeacher ? teacherOf(asked!, logits, said) : undefined;
        const { loss, ce, softCe } = kdLoss(logits, teacher, targets as tf.Tensor1D, kd_ratio);
        const ds = softCe ?? (teacher && crossEntropyToTeacher(logits, teacher));
        const mean = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), tokens);
        const pt = mean(loss);
        return {
          loss: tf.mul(pt, lm_coef),
          parts: { lm_loss: mean(ce), ...(ds && { ds_loss: mean(ds) }), pt_loss: pt },
        };
      },
    };
  });
}
