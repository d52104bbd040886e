import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { forwardKl } from '../tensor/ops/index.js';
import type { BatchTotals } from './aggregate.js';
import { crossEntropy } from './kd.js';

export interface Reduction {
  equation: string;
  note: string;
  /** What the summed distillation term is divided by. */
  divisor(totals: BatchTotals): number;
}

/** How the distillation term is averaged. */
export const babyllamaReductions = {
  batchmean: {
    equation: 'Σ_{b,t} KL / B',
    note: "the reference (PyTorch KLDivLoss 'batchmean' on [B,T,V]): divides by sequences, so the term grows with length",
    divisor: (totals) => totals.sequences,
  },
  token: {
    equation: 'Σ_{b,t} KL / Σ_b L_b',
    note: 'a token mean, as the cross-entropy beside it',
    divisor: (totals) => totals.tokens,
  },
} satisfies Record<string, Reduction>;

export type BabyllamaReduction = keyof typeof babyllamaReductions;
export const babyllamaReductionNames = Object.keys(babyllamaReductions) as [
  BabyllamaReduction,
  ...BabyllamaReduction[],
];

/**
 * z̄: the mean of the teachers' logits, so that softmax(z̄) is the normalised geometric mean of their distributions.
 *
 * @param teachers one [N, V] per teacher, on one vocabulary @throws UsageError for an empty list or differing shapes
 */
export function averageLogits(teachers: readonly tf.Tensor2D[]): tf.Tensor2D {
  const [first, ...rest] = teachers;
  if (!first) throw new UsageError('babyllama: no teacher given, expected at least one');
  for (const [i, t] of rest.entries()) {
    if (t.shape[0] !== first.shape[0] || t.shape[1] !== first.shape[1]) {
      throw new UsageError(
        `babyllama: teacher ${i + 2} has logits [${t.shape}], the first one [${first.shape}]`,
      );
    }
  }
  return rest.length === 0 ? first : tf.div(tf.addN([...teachers]), teachers.length);
}

export interface BabyllamaOptions {
  /** Share of the cross-entropy. */
  alpha: number;
  temperature: number;
  reduction: BabyllamaReduction;
  /** Totals of the whole optimizer batch, so that micro-batches add up. */
  totals: Pick<BatchTotals, 'tokens' | 'sequences'>;
}

/**
 * BabyLlama (Timiryasov and Tastet 2023, arXiv 2308.02019; distill-ensemble-pretraining-baby-llama.py:120-147):
 *
 *     L = α · CE + (1 − α) · T² · KL(softmax(z̄/T) ‖ softmax(z_s/T))
 *
 * CE is a token mean at temperature 1; z̄ from `averageLogits`. T² keeps the size of the soft gradients when T changes.
 * Departure: the reference takes the KL over all positions, padding and the last one too; here the rows given are the
 * valid targets.
 *
 * @param studentLogits [N, V] @param teacherLogits z̄, [N, V] @param ids int32 [N]
 * @returns scalars: the loss (gradient to the student), its two parts before mixing
 */
export function babyllamaLoss(
  studentLogits: tf.Tensor2D,
  teacherLogits: tf.Tensor2D,
  ids: tf.Tensor1D,
  options: BabyllamaOptions,
): { loss: tf.Scalar; ce: tf.Scalar; distillation: tf.Scalar } {
  const { alpha, temperature: T, reduction, totals } = options;
  const ce = tf.div<tf.Scalar>(tf.sum(crossEntropy(studentLogits, ids)), totals.tokens);
  const kl = forwardKl(tf.div(studentLogits, T), tf.div(teacherLogits, T));
  const divisor = babyllamaReductions[reduction].divisor({ slots: 0, ...totals });
  const distillation = tf.mul<tf.Scalar>(tf.sum(kl), (T * T) / divisor);
  return { loss: tf.add(tf.mul(ce, alpha), tf.mul(distillation, 1 - alpha)), ce, distillation };
}
