import * as tf from '@tensorflow/tfjs-core';
import { packSequences } from '../models/packed.js';
import type { TrainingContext } from './method.js';
import type { TrainingState } from './state.js';
import { microBatches, sharedLogits, sharedVocabulary } from './supervised.js';

/**
 * The teacher's logits at the response positions of a round's rollouts. The teacher does not change, so they are computed
 * once and serve every inner epoch (the official code runs the teacher again at each update). Above the bound they are
 * recomputed per minibatch; the numbers agree up to rounding. Not part of the TrainingState: a resume computes them anew.
 */
export class TeacherLogits {
  /** @param limit bytes of teacher logits kept for a round; a larger round is scored again at every step */
  constructor(private readonly limit = 1 << 30) {}

  private round = -1;
  private kept: tf.Tensor2D[] = [];

  /** Logits [N, V] of the given rollouts of the round (indices into state.rollouts), in that order; the caller disposes. */
  rows(context: TrainingContext, state: TrainingState, rollouts: readonly number[]): tf.Tensor2D {
    const tokens = state.rollouts.reduce((sum, t) => sum + t.responseIds.length, 0);
    if (tokens * sharedVocabulary(context) * 4 > this.limit) {
      return score(
        context,
        rollouts.map((i) => state.rollouts[i]!),
      );
    }
    if (this.round !== state.round) this.fill(context, state);
    return tf.concat(
      rollouts.map((i) => this.kept[i]!),
      0,
    );
  }

  dispose(): void {
    tf.dispose(this.kept);
    this.kept = [];
    this.round = -1;
  }

  private fill(context: TrainingContext, state: TrainingState): void {
    this.dispose();
    const kept = new Map<unknown, tf.Tensor2D>();
    for (const part of microBatches(state.rollouts)) {
      const logits = score(context, part);
      const pieces = tf.split<tf.Tensor2D>(
        logits,
        part.map((t) => t.responseIds.length),
        0,
      );
      logits.dispose();
      for (const [i, t] of part.entries()) kept.set(t, pieces[i]!);
    }
    this.kept = state.rollouts.map((t) => kept.get(t)!);
    this.round = state.round;
  }
}

function score(context: TrainingContext, rollouts: Parameters<typeof packSequences>[0]): tf.Tensor2D {
  const teacher = context.teachers[0]!;
  return tf.tidy(() => sharedLogits(context, teacher.params, teacher, packSequences(rollouts)));
}
