import * as tf from '@tensorflow/tfjs-core';

export interface KdScale {
  equation: string;
  source: string;
  claim: string;
  /** What the divergence at temperature T is multiplied by. */
  factor(temperature: number): number;
}

/**
 * How a divergence D between student and teacher looks at temperature T: both models' logits are divided by it,
 * p_T = softmax(z_p/T), q_T = softmax(z_q/T). The gradient in the student's logits is 1/T times that in z_q/T, and distributions
 * that are nearly flat differ by 1/T again: together 1/T².
 */
export const kdScales = {
  none: {
    equation: 'D(p_T, q_T)',
    source: "TRL's Distillation (temperature) and MiniLLM (kd_temperature)",
    claim: 'the gradient falls as 1/T² for large T: a smaller loss, and a smaller share of one that is mixed',
    factor: () => 1,
  },
  't-squared': {
    equation: 'T² D(p_T, q_T)',
    source: 'Hinton et al., arXiv 1503.02531, section 2',
    claim:
      'the gradient keeps its size as T grows; that of a KL becomes that of half the squared distance of centred logits, over V',
    factor: (temperature) => temperature ** 2,
  },
} satisfies Record<string, KdScale>;

export type KdScaleName = keyof typeof kdScales;
export const kdScaleNames = Object.keys(kdScales) as [KdScaleName, ...KdScaleName[]];

export interface Softening {
  /** T. */
  temperature: number;
  scale: KdScaleName;
}

export const noSoftening: Softening = { temperature: 1, scale: 'none' };

/**
 * A divergence of each row at temperature T, scaled. At T = 1 it is the divergence itself, to the bit.
 *
 * @param student logits [N, V], gradient through them @param teacher logits [N, V] @param divergence of logits, [N]
 */
export function softened(
  { temperature, scale }: Softening,
  student: tf.Tensor2D,
  teacher: tf.Tensor2D,
  divergence: (student: tf.Tensor2D, teacher: tf.Tensor2D) => tf.Tensor1D,
): tf.Tensor1D {
  if (temperature === 1) return divergence(student, teacher);
  const value = divergence(tf.div(student, temperature), tf.div(teacher, temperature));
  const factor = kdScales[scale].factor(temperature);
  return factor === 1 ? value : tf.mul(value, factor);
}
