import * as tf from '@tensorflow/tfjs-core';
import { packSequences, responseLogits } from '../models/packed.js';
import { aggregate } from '../objectives/aggregate.js';
import { crossEntropy } from '../objectives/kd.js';
import type { Method, MicroBatch, StepPlan } from './method.js';
import { ownMicroBatches } from './microBatches.js';
import { allTokens, batchOf, responseTokens } from './supervised.js';

/**
 * Supervised fine-tuning on the gold responses:
 *
 *     L = Σ_response −ln q / (response tokens)  +  w · Σ_prompt −ln q / (prompt tokens),   w = train.prompt_weight
 *
 * over the whole optimizer batch. w = 0 (the default) is MiniLLM's phase 1 (arXiv 2306.08543, Algorithm 1), whose
 * checkpoint of lowest validation loss is where the student starts. A model that learns the language itself from
 * the same data, as the embedded teacher does, gains from its prompts as well.
 */
export function sft(): Method {
  return {
    step(context, state): StepPlan {
      const sequences = batchOf(context.train, context, state);
      const weight = context.config.train.prompt_weight;
      const response = responseTokens(sequences);
      // The first token of a prompt has nothing before it that could predict it.
      const prompt = sequences.reduce((sum, s) => sum + s.promptIds.length - 1, 0);
      const { micro_batch_size } = context.config.train;
      const parts = ownMicroBatches(sequences, micro_batch_size, context.shards);
      const micro = parts.map(({ part, shard }): MicroBatch => {
        const kept = weight > 0 ? 1 : Number.POSITIVE_INFINITY;
        const batch = packSequences(
          part.map((s) => {
            const ids = [...s.promptIds, ...s.responseIds];
            const cut = Math.min(kept, s.promptIds.length);
            return { promptIds: ids.slice(0, cut), responseIds: ids.slice(cut) };
          }),
        );
        const coefficients = Float32Array.from(
          part.flatMap((s, i) => {
            const inPrompt = batch.counts[i]! - s.responseIds.length;
            return Array.from({ length: batch.counts[i]! }, (_, t) =>
              t < inPrompt ? weight / prompt : 1 / response,
            );
          }),
        );
        return {
          shard,
          constants: () => [tf.tensor1d(batch.targets, 'int32')],
          loss(params, [targets]) {
            const logits = responseLogits(params, context.student, batch);
            return { loss: aggregate(crossEntropy(logits, targets as tf.Tensor1D), coefficients), parts: {} };
          },
        };
      });
      return {
        micro,
        metrics: { response_length: response / sequences.length },
        tokens: allTokens(sequences),
      };
    },
  };
}
