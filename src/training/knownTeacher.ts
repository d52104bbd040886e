import * as tf from '@tensorflow/tfjs-core';
import type { Model } from '../models/model.js';
import { cutVocabulary, type PackedBatch, responseLogits } from '../models/packed.js';
import { completeTail } from '../objectives/tailBucket.js';

/**
 * What one teacher says of a batch, outside any tape: its logits [N, V]; with a cache also the mass of its tail [N]. The caller
 * disposes.
 *
 * @param vocabulary that student and teachers share
 */
export function askTeacher(teacher: Model, batch: PackedBatch, vocabulary: number): tf.Tensor[] {
  const logits = tf.tidy(() => cutVocabulary(responseLogits(teacher.params, teacher, batch), vocabulary));
  const { cache } = teacher.remote ?? {};
  if (!cache) return [logits];
  const tails = cache.tails(batch.sequences);
  return [logits, tf.tidy(() => tf.concat(tails.map((x) => tf.tensor1d(x))))];
}

/**
 * The logits [N, V] that a divergence takes of a teacher, from what `askTeacher` gave: of one that names its most likely tokens
 * only, T ln p̂ (`completeTail` of the student at T, so that p̂ = softmax(T ln p̂ / T)); any other's as they are.
 */
export function teacherOf(
  teacher: Model,
  studentLogits: tf.Tensor2D,
  said: readonly tf.Tensor[],
): tf.Tensor2D {
  const [known, tail] = said as [tf.Tensor2D, tf.Tensor1D?];
  if (teacher.remote?.gives !== 'top_k') return known;
  const temperature = teacher.remote.cache?.temperature ?? 1;
  if (temperature === 1) return completeTail(studentLogits, known, tail);
  return tf.tidy(() => tf.mul(completeTail(tf.div(studentLogits, temperature), known, tail), temperature));
}

/** Whether its answers lie in a file: no token is read for them. */
export function isCached({ remote }: Model): boolean {
  return remote?.cache !== undefined;
}
