import type * as tf from '@tensorflow/tfjs-core';
import { forwardKl, reverseKl } from '../tensor/ops/index.js';

export interface Divergence {
  equation: string;
  note: string;
  /** Per row of [N, V] logits, nats; gradient to the student only. */
  perToken(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D): tf.Tensor1D;
}

/** Divergences between student q and teacher p at one state, over the whole vocabulary. */
export const divergences = {
  forward: { equation: 'KL(p‖q)', note: 'covers every mode of the teacher (KD)', perToken: forwardKl },
  reverse: {
    equation: 'KL(q‖p)',
    note: 'seeks a mode of the teacher (MiniLLM single step)',
    perToken: reverseKl,
  },
} satisfies Record<string, Divergence>;

export type DivergenceName = keyof typeof divergences;
export const divergenceNames = Object.keys(divergences) as [DivergenceName, ...DivergenceName[]];
