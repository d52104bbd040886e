import type { Sequence } from '../models/packed.js';

/** What a teacher can say about a state: all of it, the most likely tokens, or the token that stands there. */
export const distributionKinds = ['full', 'top_k', 'sampled'] as const;
export type DistributionKind = (typeof distributionKinds)[number];

/** A model that scores given tokens, wherever it runs. */
export interface Teacher {
  vocabSize: number;
  /** Longest sequence, in tokens. */
  maxPositions: number;
  gives: DistributionKind;
  /** ln p(y_t | s_t) of every response token, in nats, one array a sequence. */
  logprobs(sequences: readonly Sequence[]): Float32Array[];
  /**
   * ln p(· | s_t) at every response token, [T·V] row-major, one array a sequence. `top_k`: −∞ for the tokens that the
   * teacher did not name, whose mass is 1 − Σ exp of the others.
   *
   * @throws UsageError from a teacher that gives sampled tokens only
   */
  distributions(sequences: readonly Sequence[]): Float32Array[];
}
