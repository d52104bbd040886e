import type * as tf from '@tensorflow/tfjs-core';
import { kernels, type LogitEdits } from '../tensor/kernels.js';
import type { SamplingOptions } from './sampling.js';

/** What one decoding step knows about the tokens it drew; one entry a row. */
export interface Drawn {
  tokens: Int32Array;
  studentLogprobs: Float32Array;
  behaviorLogprobs: Float32Array;
  entropy: Float32Array;
  /** Σ_v q(v)². */
  collision: Float32Array;
  teacherLogprobs?: Float32Array;
  kl?: Float32Array;
}

/**
 * Draws the next token of every row from the teacher-mixed distribution (MiniLLM, arXiv 2306.08543, section 2.2)
 *
 *     p̃(v) = α p(v) + (1 − α) q(v)
 *
 * mixed in probability space at the sampling temperature, and records everything a policy gradient needs while
 * both distributions are at hand: ln q(y), the entropy and Σ q² of q at the temperature, ln p̃(y) of what was really
 * drawn (after edits and cuts), ln p(y) at temperature 1, and KL(q ‖ p) over the whole vocabulary, which is the exact
 * −E[r | s] that the Rao-Blackwellised return needs. Edits of logits come before the mixture, on each model's own; top-k, top-p
 * and min-p cut the mixture, not its parts (the whole order: `SamplingOptions`). In what is recorded of them q and p stay as
 * they are, so that q/p̃ remains the true importance weight wherever p̃ > 0.
 *
 * All of it is one kernel: where it is our own, one pass over both rows of logits.
 *
 * @param studentLogits [B, V]
 * @param teacher logits [B, V'] of the teacher and its share α (0: the teacher only scores)
 * @param uniforms one number in [0, 1) a row; unused when greedy
 * @param vocab ids from here on are left out of both; default: the ids that both have. Checkpoints of one tokenizer
 *   family may be padded differently
 * @param edits of the logits, by row (`logitEdits`); ids below `vocab`
 */
export function nextTokens(
  studentLogits: tf.Tensor2D,
  teacher: { logits: tf.Tensor2D; alpha: number } | undefined,
  uniforms: ArrayLike<number>,
  { temperature, topK, topP, minP = 0, greedy }: SamplingOptions,
  vocab = Number.POSITIVE_INFINITY,
  edits?: LogitEdits,
): Drawn {
  const batch = studentLogits.shape[0];
  const settings = {
    temperature,
    alpha: teacher?.alpha ?? 0,
    topK,
    topP,
    minP,
    greedy,
    vocab: Math.min(vocab, studentLogits.shape[1], teacher?.logits.shape[1] ?? vocab),
  };
  const data = kernels().sample(studentLogits, teacher?.logits, uniforms, settings, edits);
  const row = (i: number): Float32Array => data.slice(i * batch, (i + 1) * batch);
  const tokens = Int32Array.from(row(0));
  if (tokens.includes(-1)) throw new RangeError('a distribution without mass cannot be sampled');
  return {
    tokens,
    studentLogprobs: row(1),
    entropy: row(2),
    behaviorLogprobs: row(3),
    collision: row(6),
    ...(teacher && { teacherLogprobs: row(4), kl: row(5) }),
  };
}
