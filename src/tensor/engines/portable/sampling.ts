import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import { drawTokens } from './draw.js';
import { edited, editedRows } from './editLogits.js';
import { truncate } from './truncate.js';

/** Out of TensorFlow.js's own operations; whole distributions come back only where top-k, top-p or min-p cut them. */
export const sample: Kernels['sample'] = (wholeStudent, wholeTeacher, uniforms, options, edits) => {
  const { alpha, vocab } = options;
  const studentLogits = firstColumns(wholeStudent, vocab);
  const teacherLogits = wholeTeacher && firstColumns(wholeTeacher, vocab);
  const temperature = options.greedy ? 1 : options.temperature;
  const mixed = teacherLogits !== undefined && alpha > 0;
  const distributions = tf.tidy(() => {
    const logq = tf.logSoftmax(scaled(studentLogits, temperature));
    const q = tf.exp(logq);
    const entropy = tf.neg(tf.sum(tf.mul(q, logq), 1));
    const collision = tf.sum(tf.square(q), 1);
    const shownLogits: tf.Tensor2D | undefined = edits && edited(studentLogits, edits);
    const shown = shownLogits ? tf.softmax(scaled(shownLogits, temperature)) : q;
    if (!teacherLogits) return { logq, entropy, collision, mixture: shown, shownLogits };
    const logp = tf.logSoftmax(teacherLogits);
    const kl = tf.neg(tf.add(entropy, tf.sum(tf.mul(q, logp), 1)));
    let mixture = shown;
    if (mixed) {
      const p = edits
        ? tf.softmax(scaled(edited(teacherLogits, edits), temperature))
        : temperature === 1
          ? tf.exp(logp)
          : tf.softmax(scaled(teacherLogits, temperature));
      mixture = tf.add(tf.mul(p, alpha), tf.mul(shown, 1 - alpha));
    }
    return { logq, entropy, collision, mixture, logp, kl, shownLogits };
  }) as {
    logq: tf.Tensor2D;
    entropy: tf.Tensor1D;
    collision: tf.Tensor1D;
    mixture: tf.Tensor2D;
    logp?: tf.Tensor2D;
    kl?: tf.Tensor1D;
    /** With edits: the student's logits as they are drawn from. */
    shownLogits?: tf.Tensor2D;
  };

  const cut = !options.greedy && (options.topK > 0 || options.topP < 1 || options.minP > 0);
  const behavior = cut ? truncate(distributions.mixture, options) : distributions.mixture.clone();
  const certain = mixed ? distributions.mixture : (distributions.shownLogits ?? studentLogits);
  const tokens = options.greedy ? argMax(certain) : drawTokens(behavior, uniforms);
  const batch = tokens.length;
  const record = tf.tidy(() => {
    const at = tf.tensor1d(
      Int32Array.from(tokens, (token, b) => b * vocab + token),
      'int32',
    );
    const pick = (x: tf.Tensor2D): tf.Tensor1D =>
      tf.gather(tf.reshape(x, [batch * vocab]), at) as tf.Tensor1D;
    const { logq, entropy, collision, logp, kl } = distributions;
    const mass = cut ? tf.sum(behavior, 1) : tf.onesLike(entropy);
    const none = tf.zerosLike(entropy);
    // A greedy choice is certain; without mixture, edit or cut p̃ is q, and q/p̃ is 1 to the bit.
    const changed = (): tf.Tensor1D => tf.log(tf.div<tf.Tensor1D>(pick(behavior), mass));
    const drawn = options.greedy
      ? none
      : mixed || cut
        ? changed()
        : edits
          ? tf.where<tf.Tensor1D>(editedRows(edits), changed(), pick(logq))
          : pick(logq);
    return tf.stack([pick(logq), entropy, drawn, logp ? pick(logp) : none, kl ?? none, collision]);
  });
  const records = new Float32Array(7 * batch);
  records.set(tokens);
  records.set(record.dataSync<'float32'>(), batch);
  tf.dispose([record, behavior, ...Object.values(distributions).filter((x) => x !== undefined)]);
  if (studentLogits !== wholeStudent) studentLogits.dispose();
  if (teacherLogits && teacherLogits !== wholeTeacher) teacherLogits.dispose();
  return records;
};

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
