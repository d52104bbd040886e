import * as tf from '@tensorflow/tfjs-core';
import { gatherRows } from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { weightsOf } from './lora.js';
import { forwardHidden, headLogits, type Model } from './model.js';
import type { Sequence } from './sequence.js';

export type { Sequence };

/**
 * Sequences laid side by side: ids [B·T], right-padded with 0 (causal attention never looks at what follows), and
 * for every response token the row of the flat [B·T, D] activations that predicts it.
 */
export interface PackedBatch {
  ids: Int32Array;
  batch: number;
  /** T: the longest prompt + response, less one, for the last token is only predicted. */
  length: number;
  /** [N] rows, sequence-major: row b·T + P_b − 1 + t predicts token t of response b. */
  rows: Int32Array;
  /** [N] the response tokens themselves. */
  targets: Int32Array;
  /** Response tokens of each sequence; N is their sum. */
  counts: Int32Array;
  sequences: readonly Sequence[];
}

export function packSequences(sequences: readonly Sequence[]): PackedBatch {
  const counts = Int32Array.from(sequences, (s) => s.responseIds.length);
  const length = Math.max(...sequences.map((s) => s.promptIds.length + s.responseIds.length - 1));
  const tokens = counts.reduce((sum, n) => sum + n, 0);
  const ids = new Int32Array(sequences.length * length);
  const rows = new Int32Array(tokens);
  const targets = new Int32Array(tokens);
  let n = 0;
  sequences.forEach(({ promptIds, responseIds }, b) => {
    for (let i = 0; i < promptIds.length; i++) ids[b * length + i] = promptIds[i]!;
    for (let t = 0; t < responseIds.length; t++, n++) {
      const at = b * length + promptIds.length + t;
      if (t < responseIds.length - 1) ids[at] = responseIds[t]!;
      rows[n] = at - 1;
      targets[n] = responseIds[t]!;
    }
  });
  return { ids, batch: sequences.length, length, rows, targets, counts, sequences };
}

/** Plain text as a sequence: every token but the first is predicted. */
export function textSequence(ids: ArrayLike<number>): Sequence {
  const all = Array.from(ids);
  return { promptIds: all.slice(0, 1), responseIds: all.slice(1) };
}

/**
 * Logits [N, V] at the response positions only; no other position ever meets the vocabulary.
 *
 * @param params what is differentiated of the model: of one with adapters what trains
 */
export function responseLogits(params: Params, model: Model, batch: PackedBatch): tf.Tensor2D {
  if (model.remote) {
    const vocab = model.config.vocabSize;
    const logprobs = tf.concat(model.remote.distributions(batch.sequences).map((x) => tf.tensor1d(x)));
    return tf.reshape(logprobs, [batch.rows.length, vocab]);
  }
  return responseStates(params, model, batch).logits;
}

/** `responseLogits` of a model that is here, with the hidden states [N, D] that they are made of. */
export function responseStates(
  params: Params,
  model: Model,
  batch: PackedBatch,
): { hidden: tf.Tensor2D; logits: tf.Tensor2D } {
  const all = weightsOf(model, params);
  const everywhere = forwardHidden(all, model.config, batch.ids, batch.batch, batch.length);
  const hidden = gatherRows(everywhere, tf.tensor1d(batch.rows, 'int32'));
  return { hidden, logits: headLogits(all, model.config, hidden) };
}

/** Cuts logits to the first `vocab` columns: models of one tokenizer family may be padded differently. */
export function cutVocabulary(logits: tf.Tensor2D, vocab: number): tf.Tensor2D {
  return logits.shape[1] === vocab ? logits : tf.slice(logits, [0, 0], [logits.shape[0], vocab]);
}

/** Splits a list into pieces of at most `size`. */
export function chunks<T>(items: readonly T[], size: number): T[][] {
  const pieces: T[][] = [];
  for (let i = 0; i < items.length; i += size) pieces.push(items.slice(i, i + size));
  return pieces;
}
