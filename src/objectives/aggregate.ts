import * as tf from '@tensorflow/tfjs-core';
import { assertShape } from '../tensor/shape.js';

/** Sizes of the WHOLE optimizer batch, over all micro-batches and workers. */
export interface BatchTotals {
  /** Response tokens. */
  tokens: number;
  /** Responses. */
  sequences: number;
  /** Response slots R of `fixed-length`. */
  slots: number;
}

export interface Aggregation {
  equation: string;
  note: string;
  /** The coefficient of every token of a response of the given length. */
  coefficient(length: number, totals: BatchTotals): number;
}

/**
 * How per-token losses x_{b,t} become one number. Every mode is a coefficient per token that depends only on the
 * response's length and on totals of the whole optimizer batch, given explicitly. Micro-batches therefore add up to the
 * full batch's gradient; averaging the means of micro-batches, the bug users of other systems report, cannot be written.
 */
export const aggregations = {
  'token-mean': {
    equation: 'Σ_b Σ_t x_{b,t} / Σ_b L_b',
    note: 'MiniLLM, LMOps; every token counts alike',
    coefficient: (_, totals) => 1 / totals.tokens,
  },
  'seq-mean-token-sum': {
    equation: '(1/B) Σ_b Σ_t x_{b,t}',
    note: 'the sequence-level expectation itself',
    coefficient: (_, totals) => 1 / totals.sequences,
  },
  'seq-mean-token-mean': {
    equation: '(1/B) Σ_b (1/L_b) Σ_t x_{b,t}',
    note: 'every response counts alike (GRPO)',
    coefficient: (length, totals) => 1 / (totals.sequences * length),
  },
  'fixed-length': {
    equation: 'Σ_b Σ_t x_{b,t} / (B R)',
    note: 'a constant divisor (Dr. GRPO, arXiv 2503.20783)',
    coefficient: (_, totals) => 1 / (totals.sequences * totals.slots),
  },
} satisfies Record<string, Aggregation>;

export type AggregationName = keyof typeof aggregations;
export const aggregationNames = Object.keys(aggregations) as [AggregationName, ...AggregationName[]];

/** Totals of a batch from its response lengths; `slots` defaults to the longest. */
export function batchTotals(lengths: ArrayLike<number>, slots = 0): BatchTotals {
  let tokens = 0;
  let most = 0;
  for (let b = 0; b < lengths.length; b++) {
    tokens += lengths[b]!;
    most = Math.max(most, lengths[b]!);
  }
  return { tokens, sequences: lengths.length, slots: slots || most };
}

/**
 * The coefficient of each flat token row, for the responses of one micro-batch.
 *
 * @param lengths response tokens of each response of this micro-batch, rows in the same order
 * @returns [N], N = Σ lengths
 */
export function tokenCoefficients(
  mode: AggregationName,
  lengths: ArrayLike<number>,
  totals: BatchTotals,
): Float32Array {
  const coefficients: number[] = [];
  for (let b = 0; b < lengths.length; b++) {
    const c = aggregations[mode].coefficient(lengths[b]!, totals);
    for (let t = 0; t < lengths[b]!; t++) coefficients.push(c);
  }
  return Float32Array.from(coefficients);
}

/**
 * Σ_n c_n x_n: the loss of a micro-batch. Gradient through x.
 *
 * @param x [N] @param coefficients [N], from `tokenCoefficients`
 * @throws UsageError if the sizes differ
 */
export function aggregate(x: tf.Tensor1D, coefficients: Float32Array): tf.Scalar {
  assertShape(x, [coefficients.length], 'aggregate: x');
  return tf.sum(tf.mul(x, tf.tensor1d(coefficients)));
}
