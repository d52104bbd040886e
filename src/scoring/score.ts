import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { weightsOf } from '../models/lora.js';
import { forwardHidden, headLogprobs, type Model } from '../models/model.js';
import { gatherRows } from '../tensor/ops/index.js';

export interface ScoreOptions {
  /** Sequences read together at most; default 32. Speed and memory only. */
  batchSize?: number;
  /** Tokens read together at most, padding included; a longer sequence is read alone. Default 4096. */
  tokenBudget?: number;
  /** Logits held at once, in values, by the engines that cannot do without; default 2^24, 64 MiB. */
  logitsBudget?: number;
}

/**
 * Log-probabilities of given tokens: result[s][i] = ln p(ids[i+1] | ids[0..i]), in nats, for every sequence s. One
 * entry fewer than tokens; a sequence shorter than 2 gives an empty array. No gradient.
 *
 * Sequences of similar length share a batch, results come back in the order given. Any row of a result is the same
 * whatever shares its batch, up to the rounding of the backend's matrix product.
 *
 * @throws UsageError naming the row (from 0) of the first id outside the vocabulary or sequence beyond the context
 */
export function scoreTokens(
  model: Model,
  sequences: readonly Int32Array[],
  options: ScoreOptions = {},
): Float32Array[] {
  for (const [row, ids] of sequences.entries()) checkSequence(model, ids, `row ${row}`);
  const results = sequences.map((ids) => new Float32Array(Math.max(0, ids.length - 1)));
  for (const rows of batchesByLength(sequences, options)) {
    const logprobs = scoreBatch(
      model,
      rows.map((row) => sequences[row]!),
      options.logitsBudget,
    );
    let at = 0;
    for (const row of rows) {
      const result = results[row]!;
      result.set(logprobs.subarray(at, at + result.length));
      at += result.length;
    }
  }
  return results;
}

/**
 * @param where what to call the sequence in the error
 * @throws UsageError if an id is outside the vocabulary, or the sequence does not fit into the model's context
 */
export function checkSequence({ config }: Model, ids: Int32Array, where: string): void {
  if (ids.length > config.maxPositions) {
    throw new UsageError(
      `${where} has ${ids.length} tokens, more than the model's context of ${config.maxPositions}; shorten it`,
    );
  }
  const bad = ids.find((id) => !(id >= 0 && id < config.vocabSize));
  if (bad !== undefined) {
    throw new UsageError(
      `${where} holds the token id ${bad}, outside the model's vocabulary of ${config.vocabSize}`,
    );
  }
}

/** Indices of the sequences that have something to predict, longest first, cut where a batch would grow too large or be mostly padding. */
function batchesByLength(sequences: readonly Int32Array[], options: ScoreOptions): number[][] {
  const { batchSize = 32, tokenBudget = 4096 } = options;
  const order = sequences
    .map((_, row) => row)
    .filter((row) => sequences[row]!.length >= 2)
    .sort((a, b) => sequences[b]!.length - sequences[a]!.length || a - b);
  const inputs = (row: number) => sequences[row]!.length - 1; // the last token is only predicted
  const batches: number[][] = [];
  for (let start = 0; start < order.length; ) {
    const longest = inputs(order[start]!);
    const limit = start + Math.max(1, Math.min(batchSize, Math.floor(tokenBudget / longest)));
    let end = start + 1;
    while (end < Math.min(limit, order.length) && 2 * inputs(order[end]!) >= longest) end++;
    batches.push(order.slice(start, end));
    start = end;
  }
  return batches;
}

/** The log-probabilities of a batch, sequence after sequence, without padding. */
function scoreBatch(model: Model, batch: readonly Int32Array[], logitsBudget?: number): Float32Array {
  const length = Math.max(...batch.map((ids) => ids.length)) - 1;
  const count = batch.reduce((sum, ids) => sum + ids.length - 1, 0);
  const inputs = new Int32Array(batch.length * length); // padded with id 0, which nothing before it can see
  const rows = new Int32Array(count); // of [B·T, D]: the states before a token that counts
  const targets = new Int32Array(count);
  let n = 0;
  batch.forEach((ids, b) => {
    inputs.set(ids.subarray(0, -1), b * length);
    targets.set(ids.subarray(1), n);
    for (let t = 0; t < ids.length - 1; t++) rows[n++] = b * length + t;
  });
  const { config } = model;
  const params = weightsOf(model);
  const logprobs = tf.tidy(() => {
    const hidden = forwardHidden(params, config, inputs, batch.length, length);
    const states = gatherRows(hidden, tf.tensor1d(rows, 'int32'));
    return headLogprobs(params, config, states, tf.tensor1d(targets, 'int32'), logitsBudget);
  });
  const result = logprobs.dataSync<'float32'>();
  logprobs.dispose();
  return result;
}
