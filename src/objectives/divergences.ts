import type * as tf from '@tensorflow/tfjs-core';
import {
  forwardKl,
  jensenShannon,
  reverseKl,
  skewForwardKl,
  skewReverseKl,
  totalVariation,
} from '../tensor/ops/index.js';

export interface Divergence {
  equation: string;
  note: string;
  /** What the parameter is called and its usual value; absent where there is none. */
  parameter?: { name: 'beta' | 'lambda'; usual: number };
  /** Per row of [N, V] logits, nats; gradient to the student only. */
  perToken(studentLogits: tf.Tensor2D, teacherLogits: tf.Tensor2D, parameter?: number): tf.Tensor1D;
}

/** Divergences between student q and teacher p at one state, over the whole vocabulary. */
export const divergences = {
  forward: {
    equation: 'KL(p‖q)',
    note: 'covers every mode of the teacher (KD)',
    perToken: (q, p) => forwardKl(q, p),
  },
  reverse: {
    equation: 'KL(q‖p)',
    note: 'seeks a mode of the teacher (MiniLLM single step)',
    perToken: (q, p) => reverseKl(q, p),
  },
  jsd: {
    equation: 'β KL(p‖m) + (1−β) KL(q‖m), m = βp + (1−β)q; β = 0: KL(p‖q), β = 1: KL(q‖p)',
    note: 'GKD, arXiv 2306.13649; at most ln 2 between the ends',
    parameter: { name: 'beta', usual: 0.5 },
    perToken: (q, p, beta = 0.5) => jensenShannon(q, p, beta),
  },
  'skew-forward': {
    equation: 'KL(p‖λp + (1−λ)q)',
    note: 'DistiLLM, arXiv 2402.03898; at most −ln λ',
    parameter: { name: 'lambda', usual: 0.1 },
    perToken: (q, p, lambda = 0.1) => skewForwardKl(q, p, lambda),
  },
  'skew-reverse': {
    equation: 'KL(q‖(1−λ)p + λq)',
    note: 'DistiLLM, arXiv 2402.03898; at most −ln λ',
    parameter: { name: 'lambda', usual: 0.1 },
    perToken: (q, p, lambda = 0.1) => skewReverseKl(q, p, lambda),
  },
  'total-variation': {
    equation: '½ Σ_v |p − q|',
    note: 'bounded by 1; the gradient does not vanish near equality',
    perToken: (q, p) => totalVariation(q, p),
  },
} satisfies Record<string, Divergence>;

export type DivergenceName = keyof typeof divergences;
export const divergenceNames = Object.keys(divergences) as [DivergenceName, ...DivergenceName[]];
