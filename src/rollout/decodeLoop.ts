import * as tf from '@tensorflow/tfjs-core';
import {
  copyPrefixes,
  createCache,
  decodeStep,
  disposeCache,
  type KVCache,
  prefill,
  selectRows,
} from '../models/cache.js';
import { weightsOf } from '../models/lora.js';
import { headLogits, type Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import { gatherRows, writeRows } from '../tensor/ops/index.js';
import { logitEdits } from './logitEdits.js';
import { type Drawn, nextTokens } from './nextToken.js';
import type { NextToken, RolloutOptions, Slot } from './options.js';

/** Waiting prompts are read as soon as this share of the rows is free: a prefill of one prompt alone is dear. */
const ADMIT = 1 / 8;
/** With nothing waiting, the batch is cut to its unfinished rows when they are at most this share: a cut copies the caches. */
const KEEP = 0.75;

/** One model's side of the batch: its cache and the logits [B, V] of every row's next token. */
interface Stream {
  model: Model;
  cache: KVCache;
  logits: tf.Tensor2D;
}

/** Gives every unfinished row of the batch its next token; returns how many responses that ended. */
export type Choose = (
  streams: readonly { logits: tf.Tensor2D }[],
  rows: readonly (Slot | undefined)[],
  options: RolloutOptions,
) => number;

/**
 * Decodes all slots of the queue, `batchSize` at a time, in its order. A row whose response is finished is decoded on,
 * unrecorded, until another prompt takes it over or the batch is cut. Which rows are computed together follows from the
 * lengths alone, so that the same responses are decoded by the same arithmetic again. A piece is a decoding step.
 */
export function* decodeAll(
  models: readonly Model[],
  queue: readonly Slot[],
  options: RolloutOptions,
  choose: Choose = drawAndRecord,
): Pieces<void> {
  let waiting = [...queue];
  let done = 0;
  const width = Math.min(options.batchSize, queue.length);
  const capacity = Math.max(...queue.map((slot) => slot.prompt.ids.length + slot.limit));
  let rows = new Array<Slot | undefined>(width).fill(undefined);
  let streams: Stream[] = [];
  try {
    while (queue.length > done) {
      const free = rows.flatMap((slot, b) => (slot === undefined || isDone(slot) ? [b] : []));
      if (waiting.length > 0 && admits(free.length, width, waiting.length)) {
        const admitted = wholePrompts(waiting, free.length);
        waiting = waiting.slice(admitted.length);
        if (streams.length === 0) streams = models.map((model) => emptyStream(model, width, capacity));
        for (const stream of streams) admit(stream, admitted, free);
        for (const [i, slot] of admitted.entries()) rows[free[i]!] = slot;
      }
      const ended = choose(streams, rows, options);
      done += ended;
      if (ended > 0) options.onProgress?.(done, queue.length);
      const going = rows.flatMap((slot, b) => (slot && !isDone(slot) ? [b] : []));
      if (waiting.length === 0 && going.length > 0 && cuts(going.length, rows.length)) {
        streams = streams.map((stream) => keepRows(stream, going));
        rows = going.map((b) => rows[b]);
      }
      if (going.length > 0) advance(streams, rows);
      yield;
    }
  } finally {
    for (const stream of streams) closeStream(stream);
  }
}

/** Whether waiting prompts are read now. @param free rows without a response going on, of `width` */
export function admits(free: number, width: number, waiting: number): boolean {
  return free >= ADMIT * width || free >= waiting;
}

/** Whether a batch of `rows`, with nothing waiting, is cut to those that are going on. */
export function cuts(going: number, rows: number): boolean {
  return going <= KEEP * rows;
}

export function isDone(slot: Slot): boolean {
  return slot.finished || slot.tokens.length >= slot.limit;
}

/** As many waiting slots as there is room for; the samples of one prompt are not parted where that can be helped. */
function wholePrompts(waiting: readonly Slot[], room: number): Slot[] {
  const taken = waiting.slice(0, room);
  const next = waiting[room];
  if (next === undefined || next.prompt !== taken.at(-1)!.prompt) return taken;
  const whole = taken.filter((slot) => slot.prompt !== next.prompt);
  return whole.length > 0 ? whole : taken;
}

function emptyStream(model: Model, batch: number, capacity: number): Stream {
  const logits = tf.keep(tf.fill<tf.Rank.R2>([batch, model.config.vocabSize], 0));
  return { model, cache: createCache(model.config, batch, capacity), logits };
}

/** Reads each distinct prompt once and hands keys, values and logits to the rows of its samples. */
function admit(stream: Stream, slots: readonly Slot[], rows: readonly number[]): void {
  const { model, cache, logits } = stream;
  const prompts = [...new Set(slots.map((slot) => slot.prompt))];
  const lengths = prompts.map((prompt) => prompt.ids.length);
  const length = Math.max(...lengths);
  const ids = new Int32Array(prompts.length * length);
  for (const [b, prompt] of prompts.entries()) ids.set(prompt.ids, b * length);
  const read = createCache(model.config, prompts.length, length);
  try {
    tf.tidy(() => {
      const hidden = prefill(model, read, ids, prompts.length, length);
      const last = Int32Array.from(lengths, (n, b) => b * length + n - 1);
      const next = headLogits(weightsOf(model), model.config, gatherRows(hidden, tf.tensor1d(last, 'int32')));
      const from = slots.map((slot) => prompts.indexOf(slot.prompt));
      const samples = gatherRows(next, tf.tensor1d(from, 'int32'));
      writeRows(
        logits,
        Int32Array.from(slots, (_, i) => rows[i]!),
        samples,
      );
      copyPrefixes(
        read,
        cache,
        from.map((row, i) => ({ from: row, to: rows[i]!, length: lengths[row]! })),
      );
    });
  } finally {
    disposeCache(read);
  }
}

/** Draws a token for every row and records it for the unfinished ones. Returns how many responses it ended. */
const drawAndRecord: Choose = (streams, rows, options) => {
  const [student, teacher] = streams as [Pick<Stream, 'logits'>, Pick<Stream, 'logits'>?];
  if (teacher) options.onTeacherLogits?.(teacher.logits, nextTokensOf(rows));
  const going = rows.map((slot) => slot !== undefined && !isDone(slot));
  const edits = logitEdits(
    rows.map((slot, b) => (going[b] ? slot : undefined)),
    options,
    Math.min(options.vocabSize ?? Infinity, ...streams.map(({ logits }) => logits.shape[1]!)),
  );
  const drawn = nextTokens(
    student.logits,
    teacher && { logits: teacher.logits, alpha: options.teacher!.alpha },
    rows.map((slot, b) => (going[b] ? slot!.rng() : 0)),
    options,
    options.vocabSize,
    edits,
  );
  let ended = 0;
  rows.forEach((slot, b) => {
    if (!slot || !going[b]) return;
    record(slot, drawn, b, options);
    if (isDone(slot)) ended++;
  });
  return ended;
};

/** Which response and which of its tokens every row of the batch is about to be given; undefined where none. */
export function nextTokensOf(rows: readonly (Slot | undefined)[]): (NextToken | undefined)[] {
  return rows.map((slot) =>
    slot && !isDone(slot) ? { response: slot.order, token: slot.tokens.length } : undefined,
  );
}

/** Gives a response its next token, which may be its last. */
export function extend(slot: Slot, token: number, { eosIds, stop }: RolloutOptions): void {
  slot.tokens.push(token);
  slot.finished = eosIds.includes(token) || stop?.(slot.tokens) === true;
}

function record(slot: Slot, drawn: Drawn, row: number, options: RolloutOptions): void {
  const token = drawn.tokens[row]!;
  slot.studentLogprobs.push(drawn.studentLogprobs[row]!);
  slot.behaviorLogprobs.push(drawn.behaviorLogprobs[row]!);
  slot.entropy.push(drawn.entropy[row]!);
  slot.collision.push(drawn.collision[row]!);
  if (drawn.teacherLogprobs && drawn.kl) {
    slot.teacherLogprobs.push(drawn.teacherLogprobs[row]!);
    slot.kl.push(drawn.kl[row]!);
  }
  extend(slot, token, options);
}

/** One decoding step of every model. A row without a response going on repeats its last step. */
function advance(streams: readonly Stream[], rows: readonly (Slot | undefined)[]): void {
  const tokens = Int32Array.from(rows, (slot) => slot?.tokens.at(-1) ?? 0);
  const positions = Int32Array.from(rows, (slot) =>
    slot ? slot.prompt.ids.length + slot.tokens.length - 1 : 0,
  );
  for (const stream of streams) {
    const { model, cache } = stream;
    stream.logits.dispose();
    stream.logits = tf.tidy(() =>
      tf.keep(headLogits(weightsOf(model), model.config, decodeStep(model, cache, tokens, positions))),
    );
  }
}

function keepRows(stream: Stream, rows: readonly number[]): Stream {
  const index = Int32Array.from(rows);
  const cache = selectRows(stream.cache, index);
  const logits = tf.tidy(() => tf.keep(gatherRows(stream.logits, tf.tensor1d(index, 'int32'))));
  closeStream(stream);
  return { model: stream.model, cache, logits };
}

function closeStream(stream: Stream): void {
  disposeCache(stream.cache);
  stream.logits.dispose();
}
