import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import type { Model } from '../models/model.js';
import { packSequences, responseLogits } from '../models/packed.js';
import type { Sequence } from '../models/sequence.js';
import type { Params } from '../tensor/params.js';
import { checkSequence } from './score.js';

/**
 * Logits [N, V] of a model at the response positions, N = Σ_b L_b response tokens, response after response: row n is the
 * distribution that the n-th response token was, or would be, drawn from. A list of `Trajectory` is a list of sequences. No other
 * position meets the vocabulary. All sequences are one batch; the caller owns the tensor.
 *
 * @param params what is differentiated, inside `valueAndGrads`; default: the model's own
 * @throws UsageError naming the sequence (from 0) that lacks a prompt or a response, is longer than the model's context, or holds
 *   an id outside the vocabulary
 */
export function logitsAtResponses(
  model: Model,
  sequences: readonly Sequence[],
  params: Params = model.params,
): tf.Tensor2D {
  if (sequences.length === 0)
    throw new UsageError('no sequences; give at least one prompt with its response');
  sequences.forEach(({ promptIds, responseIds }, row) => {
    for (const [ids, what] of [
      [promptIds, 'prompt'],
      [responseIds, 'response'],
    ] as const)
      if (ids.length === 0) throw new UsageError(`sequence ${row} has an empty ${what}; leave it out`);
    checkSequence(
      model,
      Int32Array.from([...Array.from(promptIds), ...Array.from(responseIds)]),
      `sequence ${row}`,
    );
  });
  return tf.tidy(() => responseLogits(params, model, packSequences(sequences)));
}
