import * as tf from '@tensorflow/tfjs-core';
import { entropy } from '../tensor/ops/index.js';
import { aggregate } from './aggregate.js';

/** The bonus of `entropy_coef`, c. */
export const entropyBonus = {
  equation: '− c · (aggregate of H(q_new) at the sampled states, whole vocabulary, at the temperature)',
  source: 'Williams and Peng 1991; PPO, arXiv 1707.06347, eq. 9',
  claim:
    'E Σ_t ∇H_t, states held fixed: not the gradient of E Σ_t H_t, which also has E Σ_t ∇ln q(y_t) Σ_{k>t} H_k, what a token does to the entropy of the states after it. Under mixing the states are those of p̃',
};

/**
 * −Σ_n c_n H(q)_n, to be weighted by `entropy_coef` and added to the loss (`entropyBonus`). Gradient to the student's logits.
 *
 * @param student logits at the temperature, [N, V] @param coefficients of the aggregation, [N]
 */
export function entropyLoss(student: tf.Tensor2D, coefficients: Float32Array): tf.Scalar {
  return tf.neg(aggregate(entropy(student), coefficients));
}
