import * as tf from '@tensorflow/tfjs-core';

/**
 * A teacher known by its most likely tokens K, completed to a whole distribution by the student's shape of the rest:
 *
 *     p̂(v) = p(v) for v in K,   p̂(v) = p_tail · q(v) / q_tail for the others,   p_tail = 1 − Σ_K p,  q_tail = 1 − Σ_K q
 *
 * KL(p̂‖q) is then the forward KL with all other tokens in one bucket,
 * Σ_K p ln(p/q) + p_tail ln(p_tail / q_tail), and its gradient in the student's logits, q − p̂, is the bucket's, with p̂ held
 * fixed. Nothing pulls the student's tail towards a shape that nobody knows.
 *
 * @param studentLogits [N, V] @param known ln p [N, V], −∞ outside K @returns ln p̂ [N, V]; constant, no gradient
 */
export function completeTail(studentLogits: tf.Tensor2D, known: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const inside = tf.greater(known, -1e30);
    const p = tf.where(inside, tf.exp(known), 0);
    const q = tf.softmax(studentLogits);
    const outside = tf.where(inside, tf.zerosLike(q), q);
    const tail = tf.relu(tf.sub(1, tf.sum(p, 1, true)));
    const share = tf.div(tail, tf.maximum(tf.sum(outside, 1, true), 1e-30));
    const whole = tf.add(p, tf.mul(outside, share));
    return tf.log(tf.maximum(whole, 1e-30)) as tf.Tensor2D;
  });
}
