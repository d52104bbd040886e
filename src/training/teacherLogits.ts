import * as tf from '@tensorflow/tfjs-core';
import { oneShard } from '../cluster/shards.js';
import { cutVocabulary, packSequences } from '../models/packed.js';
import { type Pieces, whole } from '../pieces.js';
import { type RolloutOptions, replayTeacher } from '../rollout/engine.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { gatherRows, writeRows } from '../tensor/ops/index.js';
import { type Models, sharedLogits, sharedVocabulary } from './supervised.js';

/** Bytes of teacher logits kept for a round; a larger round is scored again at every step. */
const LIMIT = 1 << 30;

/**
 * The same on a card: a quarter of its free memory once models are loaded, for gradients, moments and activations want the rest.
 *
 * @param free bytes
 */
export function teacherLogitsBudget(free: number): number {
  return Math.floor(free / 4);
}

/** Whether the teacher's logits of a whole round are kept. */
export function keptTeacherLogits(
  responses: number,
  maxNewTokens: number,
  vocabulary: number,
  limit = LIMIT,
): boolean {
  return responses * maxNewTokens * vocabulary * 4 <= limit;
}

/** The observer of a rollout whose first response has this place in the round. */
export type Capture = (first: number) => NonNullable<RolloutOptions['onTeacherLogits']>;

/**
 * The teacher's logits at the response positions of a round's rollouts. They are kept as the rollout engine meets
 * them, so that no scoring pass follows and every inner epoch is served (the official code runs the teacher again at
 * each update). Above the bound they are recomputed per minibatch; the numbers agree up to rounding. Not part of the
 * TrainingState: after a resume in the middle of a round the teacher decodes the recorded responses again, which
 * gives the same bits.
 */
export class TeacherLogits {
  /** @param limit bytes, where the models' own `teacherLogitsBytes` does not say */
  constructor(private readonly limit = LIMIT) {}

  private round = -1;
  private kept: tf.Tensor2D | undefined;

  /**
   * Makes room for this rank's part of a round of `responses`, and returns what makes the observer that a `rollout` fills it by,
   * given the place of its first response in the round; undefined when the round is over the bound, which looks at the whole of
   * it: logits that are computed again have other last bits, and how many ranks there are must not decide about those.
   */
  capture(models: Models, round: number, responses: number, maxNewTokens: number): Capture | undefined {
    this.dispose();
    const vocab = sharedVocabulary(models);
    const limit = models.teacherLogitsBytes ?? this.limit;
    if (!keptTeacherLogits(responses, maxNewTokens, vocab, limit)) return undefined;
    const [from, to] = ownRange(models, responses);
    const kept = tf.keep(tf.fill<tf.Rank.R2>([(to - from) * maxNewTokens, vocab], 0));
    this.kept = kept;
    this.round = round;
    return (first) => (logits, next) => {
      const going = next.flatMap((token, row) => (token ? [{ ...token, row }] : []));
      if (going.length === 0) return;
      tf.tidy(() => {
        const rows = tf.tensor1d(
          going.map(({ row }) => row),
          'int32',
        );
        const slots = Int32Array.from(
          going,
          ({ response, token }) => (first - from + response) * maxNewTokens + token,
        );
        writeRows(kept, slots, gatherRows(cutVocabulary(logits, vocab), rows));
      });
    };
  }

  /**
   * Logits [N, V] of some of this rank's rollouts of the round, in the order given; the caller disposes.
   *
   * @param replayed whether the round is decoded again where nothing is kept of it; else these rollouts are scored
   * @param rollouts indices into `trajectories`, the whole round @param options those the round was sampled with
   */
  rows(
    models: Models,
    round: number,
    trajectories: readonly Trajectory[],
    rollouts: readonly number[],
    options: RolloutOptions,
    replayed = true,
  ): tf.Tensor2D {
    const { maxNewTokens } = options;
    if (replayed && this.round !== round) whole(this.replay(models, round, trajectories, options));
    if (!this.kept)
      return score(
        models,
        rollouts.map((i) => trajectories[i]!),
      );
    const kept = this.kept;
    const [from] = ownRange(models, trajectories.length);
    const slots = rollouts.flatMap((i) =>
      Array.from(trajectories[i]!.responseIds, (_, token) => (i - from) * maxNewTokens + token),
    );
    return tf.tidy(() => gatherRows(kept, tf.tensor1d(slots, 'int32')));
  }

  /** `capture` again, for a resume in the middle of a round. */
  *replay(
    models: Models,
    round: number,
    trajectories: readonly Trajectory[],
    options: RolloutOptions,
  ): Pieces<void> {
    const capture = this.capture(models, round, trajectories.length, options.maxNewTokens);
    if (!capture) return;
    const { shards = oneShard } = models;
    for (const shard of shards.own) {
      const [first] = shards.range(shard, trajectories.length);
      const observer = { onTeacherLogits: capture(first) };
      yield* replayTeacher(models.student, shards.part(trajectories, shard), { ...options, ...observer });
    }
  }

  dispose(): void {
    this.kept?.dispose();
    this.kept = undefined;
    this.round = -1;
  }
}

/** Where this rank's responses stand in a round of so many. */
function ownRange({ shards = oneShard }: Models, responses: number): [from: number, to: number] {
  return [shards.range(shards.own[0]!, responses)[0], shards.range(shards.own.at(-1)!, responses)[1]];
}

function score(models: Models, rollouts: readonly Trajectory[]): tf.Tensor2D {
  const teacher = models.teachers[0]!;
  return tf.tidy(() => sharedLogits(models, teacher.params, teacher, packSequences(rollouts)));
}
