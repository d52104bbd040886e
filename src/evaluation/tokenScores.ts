import * as tf from '@tensorflow/tfjs-core';
import { weightsOf } from '../models/lora.js';
import { forwardHidden, headLogits, type Model } from '../models/model.js';
import { cutVocabulary, packSequences, type Sequence } from '../models/packed.js';
import type { Pieces } from '../pieces.js';
import { forwardKl, gatherRows, reverseKl, tokenLogprob } from '../tensor/ops/index.js';

/** Values of logits held at a time for each model: 2^24 float32 are 64 MiB. */
export const LOGITS = 2 ** 24;
/** Tokens read at a time, padding included. */
export const TOKENS = 2 ** 13;

/** How a model sees a given response, one entry a response token (teacher forcing, temperature 1). */
export interface TokenScores {
  /** ln q(y_t | s_t) */
  logprobs: Float32Array;
  /** max_v q(v | s_t), and 1 where y_t is that v. */
  confidence: Float32Array;
  correct: Float32Array;
}

/** How a model q and a teacher p see a given response, over the vocabulary that both have; nats. */
export interface PairScores {
  /** ln q(y_t | s_t) and ln p(y_t | s_t) */
  logprobs: Float32Array;
  teacherLogprobs: Float32Array;
  /** KL(q‖p) and KL(p‖q) at s_t */
  reverseKl: Float32Array;
  forwardKl: Float32Array;
}

/** Scores of responses, in the order given. */
export function* scoreTokens(
  model: Model,
  sequences: readonly Sequence[],
  batchSize: number,
): Pieces<TokenScores[]> {
  const scores = yield* overTokens([model], sequences, batchSize, ([logits], targets) => {
    const best = tf.argMax(logits!, 1) as tf.Tensor1D;
    const correct = tf.cast(tf.equal(best, targets), 'float32') as tf.Tensor1D;
    return [tokenLogprob(logits!, targets), tf.exp(tokenLogprob(logits!, best)) as tf.Tensor1D, correct];
  });
  return scores.map(([logprobs, confidence, correct]) => ({
    logprobs: logprobs!,
    confidence: confidence!,
    correct: correct!,
  }));
}

/** Scores of responses by two models, in the order given. */
export function* scorePairs(
  model: Model,
  teacher: Model,
  sequences: readonly Sequence[],
  batchSize: number,
): Pieces<PairScores[]> {
  const scores = yield* overTokens([model, teacher], sequences, batchSize, ([q, p], targets) => [
    tokenLogprob(q!, targets),
    tokenLogprob(p!, targets),
    reverseKl(q!, p!),
    forwardKl(q!, p!),
  ]);
  return scores.map(([logprobs, teacherLogprobs, reverse, forward]) => ({
    logprobs: logprobs!,
    teacherLogprobs: teacherLogprobs!,
    reverseKl: reverse!,
    forwardKl: forward!,
  }));
}

/**
 * Reads all sequences with every model, those of similar length together, and meets the vocabulary with a few rows at a
 * time, so that memory is bounded whatever the batch. Result: [sequence][quantity], an entry a response token. A piece is a batch.
 *
 * @param sequences each with a response
 */
function* overTokens(
  models: readonly Model[],
  sequences: readonly Sequence[],
  batchSize: number,
  read: (logits: tf.Tensor2D[], targets: tf.Tensor1D) => tf.Tensor1D[],
): Pieces<Float32Array[][]> {
  const results: Float32Array[][] = sequences.map(() => []);
  const vocab = Math.min(...models.map((model) => model.config.vocabSize));
  const step = Math.max(1, Math.floor(LOGITS / Math.max(...models.map((m) => m.config.vocabSize))));
  for (const indices of byLength(sequences, batchSize)) {
    const batch = packSequences(indices.map((i) => sequences[i]!));
    const hidden = models.map((model) =>
      tf.tidy(() => forwardHidden(weightsOf(model), model.config, batch.ids, batch.batch, batch.length)),
    );
    const columns: Float32Array[] = [];
    for (let start = 0; start < batch.rows.length; start += step) {
      const rows = batch.rows.slice(start, start + step);
      const values = tf.tidy(() => {
        const at = tf.tensor1d(rows, 'int32');
        const logits = models.map((model, m) =>
          cutVocabulary(headLogits(weightsOf(model), model.config, gatherRows(hidden[m]!, at)), vocab),
        );
        return read(logits, tf.tensor1d(batch.targets.slice(start, start + step), 'int32'));
      });
      for (const [k, value] of values.entries()) {
        columns[k] ??= new Float32Array(batch.rows.length);
        columns[k].set(value.dataSync<'float32'>(), start);
      }
      tf.dispose(values);
    }
    tf.dispose(hidden);
    let at = 0;
    for (const [b, index] of indices.entries()) {
      const end = at + batch.counts[b]!;
      results[index] = columns.map((column) => column.slice(at, end));
      at = end;
    }
    yield;
  }
  return results;
}

/** Indices of the sequences, shortest first, in batches of at most `batchSize` rows and `TOKENS` tokens. */
function byLength(sequences: readonly Sequence[], batchSize: number): number[][] {
  const length = (i: number): number => sequences[i]!.promptIds.length + sequences[i]!.responseIds.length;
  const order = sequences.map((_, i) => i).sort((a, b) => length(a) - length(b) || a - b);
  const batches: number[][] = [];
  let open: number[] = [];
  for (const i of order) {
    if (open.length === batchSize || (open.length + 1) * length(i) > TOKENS) {
      if (open.length > 0) batches.push(open);
      open = [];
    }
    open.push(i);
  }
  return open.length > 0 ? [...batches, open] : batches;
}
