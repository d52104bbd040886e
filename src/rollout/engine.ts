import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { createCache, decodeStep, disposeCache, type KVCache, prefill, selectRows } from '../models/cache.js';
import { headLogits, type Model } from '../models/model.js';
import type { Rng } from '../random/streams.js';
import { gatherRows } from '../tensor/ops/index.js';
import { type Drawn, nextTokens } from './nextToken.js';
import { responseStream, type SamplingOptions } from './sampling.js';
import type { Trajectory } from './trajectory.js';

/** One prompt to answer. `index` names its random streams, so it must not depend on batching or order. */
export interface Prompt {
  index: number;
  ids: ArrayLike<number>;
}

export interface RolloutOptions extends SamplingOptions {
  /** Responses per prompt (K); they share one prefill. */
  samples: number;
  maxNewTokens: number;
  /** Tokens that end a response; the token itself is part of it. Empty: never stop early. */
  eosIds: readonly number[];
  seed: number;
  /** Part of the stream's address: the round of on-policy training, 0 elsewhere. */
  round: number;
  /** Responses decoded together. Speed and memory only: no result depends on it. */
  batchSize: number;
  /** Optimizer step of the student, written into the trajectories. */
  policyVersion: number;
  /** Scores every state while sampling, and takes part in it with share alpha. */
  teacher?: { model: Model; alpha: number };
  /** Ids from here on are never drawn; default: every id that all models here have. */
  vocabSize?: number;
  /** Called after every batch with the number of responses finished so far. */
  onProgress?: (done: number, total: number) => void;
}

/** A response being written. Once done it may stay in the batch for a while: it is decoded on and nothing is recorded. */
interface Slot {
  prompt: Prompt;
  sample: number;
  order: number;
  rng: Rng;
  streamKey: string;
  tokens: number[];
  studentLogprobs: number[];
  behaviorLogprobs: number[];
  entropy: number[];
  teacherLogprobs: number[];
  kl: number[];
  finished: boolean;
  limit: number;
}

/**
 * Samples K responses to every prompt from the student, or from the mixture of student and teacher
 * (`nextTokens`), with one KV cache per model. Finished responses leave the batch. Log-probabilities of both
 * models, the probability of what was drawn and the full-vocabulary KL at every state are recorded on the way, so
 * no scoring pass follows. Trajectories come back in the order prompt-major, sample-minor, whatever the batching.
 *
 * @throws UsageError when a prompt is empty, holds an id that a model lacks, or leaves no room for a token in a
 *   model's context
 */
export function rollout(student: Model, prompts: readonly Prompt[], options: RolloutOptions): Trajectory[] {
  const models = options.teacher ? [student, options.teacher.model] : [student];
  const slots = prompts.flatMap((prompt, i) =>
    Array.from({ length: options.samples }, (_, sample) =>
      openSlot(prompt, sample, i * options.samples + sample, models, options),
    ),
  );
  // Prompts of similar length share a batch: less padding in the prefill. The sort is stable and touches no stream.
  const queue = [...slots].sort((a, b) => a.prompt.ids.length - b.prompt.ids.length || a.order - b.order);
  for (let start = 0; start < queue.length; start += options.batchSize) {
    decodeBatch(models, queue.slice(start, start + options.batchSize), options);
    options.onProgress?.(Math.min(start + options.batchSize, queue.length), queue.length);
  }
  return slots.map((slot) => closeSlot(slot, options));
}

function decodeBatch(models: readonly Model[], batch: readonly Slot[], options: RolloutOptions): void {
  let active = [...batch];
  let streams = models.map((model) => openStream(model, active, options));
  try {
    for (;;) {
      const uniforms = active.map((slot) => slot.rng());
      const [studentLogits, teacherLogits] = sharedVocabulary(
        streams.map((s) => s.logits),
        options.vocabSize,
      );
      const teacher =
        teacherLogits && options.teacher
          ? { logits: teacherLogits, alpha: options.teacher.alpha }
          : undefined;
      const drawn = nextTokens(studentLogits!, teacher, uniforms, options);
      tf.dispose([studentLogits!, ...(teacherLogits ? [teacherLogits] : [])]);
      active.forEach((slot, b) => {
        if (!isDone(slot)) record(slot, drawn, b, options.eosIds);
      });
      const going = active.flatMap((slot, b) => (isDone(slot) ? [] : [b]));
      if (going.length === 0) return;
      if (going.length <= KEEP_BATCH * active.length) {
        streams = streams.map((s) => dropRows(s, going));
        active = going.map((b) => active[b]!);
      }
      const tokens = Int32Array.from(active, (slot) => slot.tokens.at(-1)!);
      const positions = Int32Array.from(active, (slot) => slot.prompt.ids.length + slot.tokens.length - 1);
      streams = streams.map((s) => advance(s, tokens, positions));
    }
  } finally {
    for (const s of streams) closeStream(s);
  }
}

/** A batch is cut down to its unfinished rows when these are at most this share of it: each cut copies the caches. */
const KEEP_BATCH = 0.75;

function isDone(slot: Slot): boolean {
  return slot.finished || slot.tokens.length >= slot.limit;
}

function record(slot: Slot, drawn: Drawn, row: number, eosIds: readonly number[]): void {
  const token = drawn.tokens[row]!;
  slot.tokens.push(token);
  slot.studentLogprobs.push(drawn.studentLogprobs[row]!);
  slot.behaviorLogprobs.push(drawn.behaviorLogprobs[row]!);
  slot.entropy.push(drawn.entropy[row]!);
  if (drawn.teacherLogprobs && drawn.kl) {
    slot.teacherLogprobs.push(drawn.teacherLogprobs[row]!);
    slot.kl.push(drawn.kl[row]!);
  }
  slot.finished = eosIds.includes(token);
}

/** One model's side of a batch: its cache and the logits of the next token. */
interface Stream {
  model: Model;
  cache: KVCache;
  logits: tf.Tensor2D;
}

/** Prefills each distinct prompt once and hands its cache rows to all of its samples. */
function openStream(model: Model, batch: readonly Slot[], options: RolloutOptions): Stream {
  const distinct = [...new Set(batch.map((slot) => slot.prompt))];
  const length = Math.max(...distinct.map((p) => p.ids.length));
  const slots = Math.max(...batch.map((slot) => slot.prompt.ids.length + slot.limit));
  const ids = new Int32Array(distinct.length * length);
  for (const [b, p] of distinct.entries()) ids.set(p.ids, b * length);
  const cache = createCache(model.config, distinct.length, Math.min(slots, length + options.maxNewTokens));
  const logits = tf.tidy(() => {
    const hidden = prefill(model, cache, ids, distinct.length, length);
    const last = tf.tensor1d(
      Int32Array.from(distinct, (p, b) => b * length + p.ids.length - 1),
      'int32',
    );
    return headLogits(model.params, model.config, gatherRows(hidden, last));
  });
  const stream = { model, cache, logits };
  if (distinct.length === batch.length) return stream;
  const rowOf = new Map(distinct.map((p, b) => [p, b]));
  return dropRows(
    stream,
    batch.map((slot) => rowOf.get(slot.prompt)!),
  );
}

function advance(stream: Stream, tokens: Int32Array, positions: Int32Array): Stream {
  stream.logits.dispose();
  const logits = tf.tidy(() =>
    headLogits(
      stream.model.params,
      stream.model.config,
      decodeStep(stream.model, stream.cache, tokens, positions),
    ),
  );
  return { ...stream, logits };
}

function dropRows(stream: Stream, rows: readonly number[]): Stream {
  const index = Int32Array.from(rows);
  const cache = selectRows(stream.cache, index);
  const logits = tf.tidy(() => tf.gather(stream.logits, tf.tensor1d(index, 'int32')));
  closeStream(stream);
  return { model: stream.model, cache, logits };
}

function closeStream(stream: Stream): void {
  disposeCache(stream.cache);
  stream.logits.dispose();
}

/** Logits cut to the vocabulary both models have: checkpoints of one tokenizer family may be padded differently. */
function sharedVocabulary(logits: readonly tf.Tensor2D[], most = Number.POSITIVE_INFINITY): tf.Tensor2D[] {
  const vocab = Math.min(most, ...logits.map((x) => x.shape[1]));
  return logits.map((x) => (x.shape[1] === vocab ? x.clone() : tf.slice(x, [0, 0], [x.shape[0], vocab])));
}

function openSlot(
  prompt: Prompt,
  sample: number,
  order: number,
  models: readonly Model[],
  options: RolloutOptions,
): Slot {
  if (prompt.ids.length === 0)
    throw new UsageError(`prompt ${prompt.index} has no tokens; give it at least one (a BOS token will do)`);
  const vocab = Math.min(...models.map((m) => m.config.vocabSize));
  const foreign = Array.from(prompt.ids).find((id) => !(id >= 0 && id < vocab));
  if (foreign !== undefined) {
    throw new UsageError(
      `prompt ${prompt.index} holds the token id ${foreign}, outside the vocabulary of ${vocab}`,
    );
  }
  const context = Math.min(...models.map((m) => m.config.maxPositions));
  const limit = Math.min(options.maxNewTokens, context - prompt.ids.length);
  if (limit < 1) {
    throw new UsageError(
      `prompt ${prompt.index} has ${prompt.ids.length} tokens, which fills the model's context of ${context}; shorten it`,
    );
  }
  const { key, rng } = responseStream(options.seed, options.round, prompt.index, sample);
  const lists = {
    tokens: [],
    studentLogprobs: [],
    behaviorLogprobs: [],
    entropy: [],
    teacherLogprobs: [],
    kl: [],
  };
  return { prompt, sample, order, rng, streamKey: key, finished: false, limit, ...lists };
}

function closeSlot(slot: Slot, options: RolloutOptions): Trajectory {
  const trajectory: Trajectory = {
    promptIndex: slot.prompt.index,
    sample: slot.sample,
    promptIds: Int32Array.from(slot.prompt.ids),
    responseIds: Int32Array.from(slot.tokens),
    studentLogprobs: Float32Array.from(slot.studentLogprobs),
    behaviorLogprobs: Float32Array.from(slot.behaviorLogprobs),
    entropy: Float32Array.from(slot.entropy),
    finished: slot.finished,
    policyVersion: options.policyVersion,
    streamKey: slot.streamKey,
  };
  if (options.teacher) {
    trajectory.teacherLogprobs = Float32Array.from(slot.teacherLogprobs);
    trajectory.kl = Float32Array.from(slot.kl);
  }
  return trajectory;
}
