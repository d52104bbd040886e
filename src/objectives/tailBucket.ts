import * as tf from '@tensorflow/tfjs-core';

/**
 * A teacher known by its most likely tokens K, completed to a whole distribution by the student's shape of the rest:
 *
 *     p̂(v) = p(v) for v in K,   p̂(v) = p_tail · q(v) / q_tail for the others,   p_tail = 1 − Σ_K p,  q_tail = 1 − Σ_K q
 *
 * Any divergence Σ_v p̂(v) f(q(v)/p̂(v)) is then the one between K + 1 buckets, the tokens of K and one for all others:
 *
 *     forward   KL(p̂‖q) = Σ_K p ln(p/q) + p_tail ln(p_tail / q_tail)
 *     reverse   KL(q‖p̂) = Σ_K q ln(q/p) + q_tail ln(q_tail / p_tail)
 *
 * and its gradient in the student's logits with p̂ held fixed is the bucket's: within the tail the ratio q/p̂ is one number, so
 * that ∂/∂q(v) = f'(q_tail / p_tail) for each of its tokens, which is what it is for the bucket. (Forward: q − p̂; reverse:
 * q(v)(ln q(v)/p̂(v) − KL).) Nothing pulls the student's tail towards a shape that nobody knows.
 *
 * Putting tokens together loses information: both are lower bounds of the KL over the whole vocabulary (data processing
 * inequality; Cover and Thomas, Elements of Information Theory, 2.8 and the log-sum inequality 2.7.1), equal to it where the
 * tails have one shape. The soft cross-entropy −Σ p̂ ln q moves with the student's tail besides: it is KL(p̂‖q) + H(p̂).
 *
 * @param studentLogits [N, V] @param known ln p [N, V], −∞ outside K
 * @param tail p_tail [N], where it is known by itself; default 1 − Σ_K p in float32, of which a small tail has few digits
 * @returns ln p̂ [N, V]; constant, no gradient
 */
export function completeTail(
  studentLogits: tf.Tensor2D,
  known: tf.Tensor2D,
  tail?: tf.Tensor1D,
): tf.Tensor2D {
  return tf.tidy(() => {
    const inside = tf.greater(known, -1e30);
    const p = tf.where(inside, tf.exp(known), 0);
    const q = tf.softmax(studentLogits);
    const outside = tf.where(inside, tf.zerosLike(q), q);
    const rest = tail ? tf.expandDims(tail, 1) : tf.relu(tf.sub(1, tf.sum(p, 1, true)));
    const share = tf.div(rest, tf.maximum(tf.sum(outside, 1, true), 1e-30));
    const whole = tf.add(p, tf.mul(outside, share));
    return tf.log(tf.maximum(whole, 1e-30)) as tf.Tensor2D;
  });
}
