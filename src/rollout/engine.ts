import { UsageError } from '../errors.js';
import type { Model } from '../models/model.js';
import { type Pieces, whole } from '../pieces.js';
import { decodeAll, extend, isDone, nextTokensOf } from './decodeLoop.js';
import type { Prompt, RolloutOptions, Slot } from './options.js';
import type { Trajectory } from './trajectory.js';
import { responseStream } from './uniforms.js';

export type { Prompt, RolloutOptions };

/**
 * Samples K responses to every prompt from the student, or from the mixture of student and teacher
 * (`nextTokens`), with one KV cache per model. Finished responses leave the batch and waiting prompts take their place
 * (continuous batching, as in Orca, Yu et al., OSDI 2022). Log-probabilities of both
 * models, the probability of what was drawn and the full-vocabulary KL at every state are recorded on the way, so
 * no scoring pass follows. Trajectories come back in the order prompt-major, sample-minor, whatever the batching.
 *
 * @throws UsageError when a prompt is empty, holds an id that a model lacks, or leaves no room for a token in a
 *   model's context
 */
export function rollout(student: Model, prompts: readonly Prompt[], options: RolloutOptions): Trajectory[] {
  return whole(rolloutPieces(student, prompts, options));
}

/** `rollout`, a decoding step at a time. */
export function* rolloutPieces(
  student: Model,
  prompts: readonly Prompt[],
  options: RolloutOptions,
): Pieces<Trajectory[]> {
  const models = modelsOf(student, options);
  const slots = openSlots(models, prompts, options);
  yield* decodeAll(models, queueOf(slots), options);
  return slots.map((slot) => closeSlot(slot, options));
}

/**
 * Shows `onTeacherLogits` what it saw when these trajectories were sampled, to the bit: the teacher alone decodes the
 * same tokens in the same batches. For a resume in the middle of a round, whose student is no longer the one that sampled.
 *
 * @param trajectories all that `rollout` returned for these options, in its order
 */
export function* replayTeacher(
  student: Model,
  trajectories: readonly Trajectory[],
  options: RolloutOptions,
): Pieces<void> {
  const prompts = trajectories
    .filter((_, i) => i % options.samples === 0)
    .map((t) => ({ index: t.promptIndex, ids: t.promptIds }));
  const slots = openSlots(modelsOf(student, options), prompts, options);
  yield* decodeAll([options.teacher!.model], queueOf(slots), options, ([teacher], rows) => {
    options.onTeacherLogits?.(teacher!.logits, nextTokensOf(rows));
    const going = rows.filter((slot) => slot !== undefined && !isDone(slot)) as Slot[];
    for (const slot of going) {
      extend(slot, trajectories[slot.order]!.responseIds[slot.tokens.length]!, options);
    }
    return going.filter(isDone).length;
  });
}

function modelsOf(student: Model, { teacher }: RolloutOptions): Model[] {
  return teacher ? [student, teacher.model] : [student];
}

function openSlots(models: readonly Model[], prompts: readonly Prompt[], options: RolloutOptions): Slot[] {
  return prompts.flatMap((prompt, i) =>
    Array.from({ length: options.samples }, (_, sample) =>
      openSlot(prompt, sample, i * options.samples + sample, models, options),
    ),
  );
}

/** Prompts of similar length are read together: less padding in the prefill. The sort is stable and touches no stream. */
function queueOf(slots: readonly Slot[]): Slot[] {
  return [...slots].sort((a, b) => a.prompt.ids.length - b.prompt.ids.length || a.order - b.order);
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
  const { seed, round, samples, scheme = 'independent' } = options;
  const { key, rng } = responseStream(scheme, { seed, round, promptIndex: prompt.index, sample, samples });
  const lists = {
    tokens: [],
    studentLogprobs: [],
    behaviorLogprobs: [],
    entropy: [],
    collision: [],
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
    collision: Float32Array.from(slot.collision),
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
