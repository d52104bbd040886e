import * as tf from '@tensorflow/tfjs-core';
import { fusedKernels } from '../tensor/backend.js';
import * as raw from '../tensor/ops/raw.js';
import { drawTokens, type SamplingOptions } from './sampling.js';
import { truncate } from './truncate.js';

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
 * drawn (after top-k/top-p), ln p(y) at temperature 1, and KL(q ‖ p) over the whole vocabulary, which is the exact
 * −E[r | s] that the Rao-Blackwellised return needs. Top-k and top-p cut the mixture, not its parts: q and p stay
 * whole, so that q/p̃ remains the true importance weight wherever p̃ > 0.
 *
 * With our kernels all of it is one pass over both rows of logits; `composedTokens` is its reference.
 *
 * @param studentLogits [B, V]
 * @param teacher logits [B, V'] of the teacher and its share α (0: the teacher only scores)
 * @param uniforms one number in [0, 1) a row; unused when greedy
 * @param vocab ids from here on are left out of both; default: the ids that both have. Checkpoints of one tokenizer
 *   family may be padded differently
 */
export function nextTokens(
  studentLogits: tf.Tensor2D,
  teacher: MixedTeacher | undefined,
  uniforms: ArrayLike<number>,
  options: SamplingOptions,
  vocab = Number.POSITIVE_INFINITY,
): Drawn {
  const shared = Math.min(vocab, studentLogits.shape[1], teacher?.logits.shape[1] ?? vocab);
  return fusedKernels()
    ? fusedTokens(studentLogits, teacher, uniforms, options, shared)
    : composedTokens(studentLogits, teacher, uniforms, options, shared);
}

interface MixedTeacher {
  logits: tf.Tensor2D;
  alpha: number;
}

/** By one kernel (tensor/kernels/sampling.cc). */
function fusedTokens(
  studentLogits: tf.Tensor2D,
  teacher: MixedTeacher | undefined,
  uniforms: ArrayLike<number>,
  options: SamplingOptions,
  vocab: number,
): Drawn {
  const batch = studentLogits.shape[0];
  const { temperature, topK, topP, greedy } = options;
  // A float64 as the sum of two float32: the kernel inverts as finely as `drawTokens`.
  const parts = new Float32Array(2 * batch);
  for (let b = 0; b < batch; b++) {
    parts[2 * b] = uniforms[b] ?? 0;
    parts[2 * b + 1] = (uniforms[b] ?? 0) - parts[2 * b]!;
  }
  const records = tf.tidy(() =>
    raw.run(
      'MinillmSample',
      [raw.attr.int('vocab', vocab), raw.attr.int('top_k', topK)],
      [
        studentLogits,
        teacher?.logits ?? tf.tensor2d([], [0, vocab]),
        tf.tensor2d(parts, [batch, 2]),
        tf.tensor1d([greedy ? 1 : temperature, teacher?.alpha ?? 0, topP, greedy ? 1 : 0]),
      ],
    ),
  );
  const data = records.dataSync<'float32'>();
  records.dispose();
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

/** Out of TensorFlow.js's own operations, for the other engines. */
function composedTokens(
  wholeStudent: tf.Tensor2D,
  wholeTeacher: MixedTeacher | undefined,
  uniforms: ArrayLike<number>,
  options: SamplingOptions,
  vocab: number,
): Drawn {
  const studentLogits = firstColumns(wholeStudent, vocab);
  const teacher = wholeTeacher && {
    ...wholeTeacher,
    logits: firstColumns(wholeTeacher.logits, vocab),
  };
  const temperature = options.greedy ? 1 : options.temperature;
  const distributions = tf.tidy(() => {
    const logq = tf.logSoftmax(scaled(studentLogits, temperature));
    const q = tf.exp(logq);
    const entropy = tf.neg(tf.sum(tf.mul(q, logq), 1));
    const collision = tf.sum(tf.square(q), 1);
    if (!teacher) return { logq, entropy, collision, mixture: q };
    const logp = tf.logSoftmax(teacher.logits);
    const kl = tf.neg(tf.add(entropy, tf.sum(tf.mul(q, logp), 1)));
    let mixture = q;
    if (teacher.alpha > 0) {
      const p = temperature === 1 ? tf.exp(logp) : tf.softmax(scaled(teacher.logits, temperature));
      mixture = tf.add(tf.mul(p, teacher.alpha), tf.mul(q, 1 - teacher.alpha));
    }
    return { logq, entropy, collision, mixture, logp, kl };
  }) as {
    logq: tf.Tensor2D;
    entropy: tf.Tensor1D;
    collision: tf.Tensor1D;
    mixture: tf.Tensor2D;
    logp?: tf.Tensor2D;
    kl?: tf.Tensor1D;
  };

  const cut = options.topK > 0 || options.topP < 1;
  const behavior =
    cut && !options.greedy ? truncate(distributions.mixture, options) : distributions.mixture.clone();
  const certain = teacher && teacher.alpha > 0 ? distributions.mixture : studentLogits;
  const tokens = options.greedy ? argMax(certain) : drawTokens(behavior, uniforms);
  const record = tf.tidy(() => {
    const [batch, vocab] = behavior.shape;
    const at = tf.tensor1d(
      Int32Array.from(tokens, (token, b) => b * vocab + token),
      'int32',
    );
    const pick = (x: tf.Tensor2D): tf.Tensor1D =>
      tf.gather(tf.reshape(x, [batch * vocab]), at) as tf.Tensor1D;
    const mass = cut ? tf.sum(behavior, 1) : tf.onesLike(distributions.entropy);
    const { entropy, collision } = distributions;
    const rows = [pick(distributions.logq), entropy, tf.log(tf.div(pick(behavior), mass)), collision];
    if (distributions.logp && distributions.kl) rows.push(pick(distributions.logp), distributions.kl);
    return tf.stack(rows);
  });
  const data = record.dataSync<'float32'>();
  tf.dispose([record, behavior, ...Object.values(distributions)]);
  if (studentLogits !== wholeStudent) studentLogits.dispose();
  if (teacher && teacher.logits !== wholeTeacher?.logits) teacher.logits.dispose();
  const row = (i: number): Float32Array => data.slice(i * tokens.length, (i + 1) * tokens.length);
  const drawn: Drawn = {
    tokens,
    studentLogprobs: row(0),
    entropy: row(1),
    behaviorLogprobs: row(2),
    collision: row(3),
  };
  // A greedy choice is certain; without mixture or cut p̃ is q, and q/p̃ is 1 to the bit.
  if (options.greedy) drawn.behaviorLogprobs = new Float32Array(tokens.length);
  else if (!cut && !(teacher && teacher.alpha > 0)) drawn.behaviorLogprobs = row(0);
  if (teacher) {
    drawn.teacherLogprobs = row(4);
    drawn.kl = row(5);
  }
  return drawn;
}

function firstColumns(x: tf.Tensor2D, count: number): tf.Tensor2D {
  return x.shape[1] === count ? x : tf.slice(x, [0, 0], [x.shape[0], count]);
}

function scaled(logits: tf.Tensor2D, temperature: number): tf.Tensor2D {
  return temperature === 1 ? logits : tf.div(logits, temperature);
}

function argMax(scores: tf.Tensor2D): Int32Array {
  const index = tf.argMax(scores, 1);
  const data = index.dataSync<'int32'>();
  index.dispose();
  return Int32Array.from(data);
}
