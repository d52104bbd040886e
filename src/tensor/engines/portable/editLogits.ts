import * as tf from '@tensorflow/tfjs-core';
import { type LogitEdits, NEVER } from '../../kernels.js';

/** A copy of the logits with the edits, in the caller's tidy. */
export function edited(logits: tf.Tensor2D, { starts, ids, factors }: LogitEdits): tf.Tensor2D {
  if (ids.length === 0) return logits.clone();
  const [batch, vocab] = logits.shape;
  const whole = new Float32Array(batch * vocab).fill(1);
  for (let b = 0; b < batch; b++) {
    for (let i = starts[b]!; i < starts[b + 1]!; i++) whole[b * vocab + ids[i]!] = factors[i]!;
  }
  const factor = tf.tensor2d(whole, [batch, vocab]);
  const changed = tf.where(tf.greater(logits, 0), tf.div(logits, factor), tf.mul(logits, factor));
  return tf.where(tf.equal(factor, NEVER), Number.NEGATIVE_INFINITY, changed) as tf.Tensor2D;
}

/** bool [B]: whether a row has any. */
export function editedRows({ starts }: LogitEdits): tf.Tensor1D {
  return tf.tensor1d(
    Array.from({ length: starts.length - 1 }, (_, b) => starts[b + 1]! > starts[b]!),
    'bool',
  );
}
