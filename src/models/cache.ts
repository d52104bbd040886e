import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { causalAttention, decodeAttention, decodeModel, gatherRows, writeRows } from '../tensor/ops/index.js';
import { type ModelConfig, windowOf } from './config.js';
import { familyOf } from './families.js';
import { weightsOf } from './lora.js';
import { checkTokens, type Model, slotPositions } from './model.js';

/**
 * Keys and values of the tokens seen so far: for each layer one buffer of keys and one of values, [B·Hkv·S, Dh], row
 * (b·Hkv + h)·S + slot. A token's slot is its position. The cache owns its buffers; only `prefill` and `decodeStep`
 * write to them, in place.
 */
export interface KVCache {
  batch: number;
  /** Tokens that a sequence can hold, S. */
  slots: number;
  keys: tf.Tensor2D[];
  values: tf.Tensor2D[];
}

/** An empty cache. The caller owns it: `disposeCache`. */
export function createCache(config: ModelConfig, batch: number, slots: number): KVCache {
  const rows = batch * config.kvHeads * slots;
  // Filled with zeros rather than left as they are: 0 · NaN would survive the softmax's zero weight.
  const buffer = () => tf.keep(tf.fill<tf.Rank.R2>([rows, config.headDim], 0));
  return {
    batch,
    slots,
    keys: Array.from({ length: config.layers }, buffer),
    values: Array.from({ length: config.layers }, buffer),
  };
}

export function disposeCache(cache: KVCache): void {
  tf.dispose([cache.keys, cache.values]);
}

/**
 * Reads the first tokens of every sequence in one causal pass and stores their keys and values. Rows may have
 * different lengths, padded on the right with any valid id: the slots of the padding hold rubbish until `decodeStep`
 * overwrites them, each just before its first use. No gradient.
 *
 * @param ids [B·T], sequence by sequence
 * @returns hidden states [B·T, D]; the caller's tidy owns them
 * @throws UsageError if an id is outside the vocabulary, or T exceeds the slots or the model's context
 */
export function prefill(
  model: Model,
  cache: KVCache,
  ids: Int32Array,
  batch: number,
  length: number,
): tf.Tensor2D {
  const { config } = model;
  const params = weightsOf(model);
  if (batch !== cache.batch)
    throw new UsageError(`a batch of ${batch} for a cache of ${cache.batch} sequences`);
  if (length > cache.slots) throw new UsageError(`${length} tokens for a cache of ${cache.slots} slots`);
  const { heads, kvHeads, headDim } = config;
  const positions = slotPositions(batch, length);
  checkTokens(config, ids, positions);
  const rows = new Int32Array(batch * length * kvHeads); // of [B·T·Hkv, Dh], in this order
  for (let n = 0, i = 0; n < batch * length; n++) {
    for (let h = 0; h < kvHeads; h++)
      rows[i++] = cacheRow(cache, kvHeads, Math.floor(n / length), h, n % length);
  }
  return tf.tidy(() =>
    familyOf(config).hidden(params, config, tf.tensor1d(ids, 'int32'), positions, (layer, q, k, v) => {
      writeRows(cache.keys[layer]!, rows, tf.reshape(k, [rows.length, headDim]));
      writeRows(cache.values[layer]!, rows, tf.reshape(v, [rows.length, headDim]));
      return causalAttention(q, k, v, {
        batch,
        length,
        heads,
        kvHeads,
        headDim,
        window: windowOf(config, layer),
      });
    }),
  );
}

/**
 * Reads one more token of every sequence, each at its own position, and attends to all slots up to it. No gradient.
 *
 * @param tokens [B] @param positions [B], the slot of each token; all earlier slots of its row must have been written
 * @returns hidden states [B, D]; the caller's tidy owns them
 * @throws UsageError if an id is outside the vocabulary, or a position is outside the slots or the model's context
 */
export function decodeStep(
  model: Model,
  cache: KVCache,
  tokens: Int32Array,
  positions: Int32Array,
): tf.Tensor2D {
  const { config } = model;
  const params = weightsOf(model);
  const { batch, slots } = cache;
  const { heads, kvHeads, headDim } = config;
  checkTokens(config, tokens, positions);
  if (tokens.length !== batch)
    throw new UsageError(`${tokens.length} tokens for a cache of ${batch} sequences`);
  for (const position of positions)
    if (position >= slots) throw new UsageError(`position ${position} for a cache of ${slots} slots`);
  const family = familyOf(config);
  const decoder = family.decoder?.(params, config);
  if (decoder) return decodeModel(decoder, tokens, positions, cache, config);
  return tf.tidy(() => {
    const attend = decodeAttention(positions, { batch, slots, heads, kvHeads, headDim });
    return family.hidden(params, config, tf.tensor1d(tokens, 'int32'), positions, (layer, q, k, v) =>
      attend(q, k, v, cache.keys[layer]!, cache.values[layer]!, windowOf(config, layer)),
    );
  });
}

/**
 * A new cache with the given rows of another, in that order; rows may repeat. Drops finished sequences from a batch,
 * or hands one prompt's prefill to its K samples. The old cache stays as it is, and its owner's.
 *
 * @throws UsageError if a row is outside the batch
 */
export function selectRows(cache: KVCache, rows: Int32Array): KVCache {
  for (const row of rows) {
    if (!(row >= 0 && row < cache.batch))
      throw new UsageError(`row ${row} of a cache of ${cache.batch} sequences`);
  }
  const select = (buffer: tf.Tensor2D): tf.Tensor2D =>
    tf.tidy(() => {
      const [count, width] = buffer.shape;
      const perSequence = (count / cache.batch) * width;
      const bySequence = tf.reshape(buffer, [cache.batch, perSequence]) as tf.Tensor2D;
      const selected = gatherRows(bySequence, tf.tensor1d(rows, 'int32'));
      return tf.keep(tf.reshape(selected, [(rows.length * perSequence) / width, width]) as tf.Tensor2D);
    });
  return {
    batch: rows.length,
    slots: cache.slots,
    keys: cache.keys.map(select),
    values: cache.values.map(select),
  };
}

/**
 * Copies the first `length` slots of sequences of one cache to sequences of another: a prompt that was read by itself
 * joins a batch. Several sequences may be filled from one.
 */
export function copyPrefixes(
  source: KVCache,
  target: KVCache,
  copies: readonly { from: number; to: number; length: number }[],
): void {
  const pairs = source.keys[0]!.shape[0] / source.slots / source.batch; // key/value heads
  const count = copies.reduce((sum, { length }) => sum + length * pairs, 0);
  const [read, written] = [new Int32Array(count), new Int32Array(count)];
  let i = 0;
  for (const { from, to, length } of copies) {
    for (let h = 0; h < pairs; h++) {
      for (let slot = 0; slot < length; slot++, i++) {
        read[i] = cacheRow(source, pairs, from, h, slot);
        written[i] = cacheRow(target, pairs, to, h, slot);
      }
    }
  }
  tf.tidy(() => {
    const rows = tf.tensor1d(read, 'int32');
    source.keys.forEach((keys, layer) => {
      writeRows(target.keys[layer]!, written, gatherRows(keys, rows));
      writeRows(target.values[layer]!, written, gatherRows(source.values[layer]!, rows));
    });
  });
}

function cacheRow(cache: KVCache, kvHeads: number, sequence: number, head: number, slot: number): number {
  return (sequence * kvHeads + head) * cache.slots + slot;
}
