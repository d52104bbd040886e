import * as tf from '@tensorflow/tfjs-core';
import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import { chunks, packSequences, responseLogits } from '../models/packed.js';
import { tokenLogprob } from '../tensor/ops/index.js';

/** How a model sees the gold response of one example, token by token. */
export interface GoldTokens {
  logprobs: Float32Array;
  /** max_v q(v | s_t), and whether the gold token is that v. */
  confidence: Float32Array;
  correct: Uint8Array;
}

/** Scores gold responses (teacher forcing, temperature 1); results in the order of the examples. */
export function goldTokens(model: Model, examples: readonly Example[], batchSize: number): GoldTokens[] {
  const results = new Map<Example, GoldTokens>();
  const byLength = [...examples].sort((a, b) => totalLength(a) - totalLength(b));
  for (const part of chunks(byLength, batchSize)) {
    const batch = packSequences(part);
    const scored = tf.tidy(() => {
      const logits = responseLogits(model.params, model, batch);
      const best = tf.argMax(logits, 1) as tf.Tensor1D;
      const targets = tf.tensor1d(batch.targets, 'int32');
      return [tokenLogprob(logits, targets), tf.exp(tokenLogprob(logits, best)), tf.equal(best, targets)];
    });
    const [logprobs, confidence, correct] = scored.map((x) => x.dataSync());
    tf.dispose(scored);
    let at = 0;
    part.forEach((example, i) => {
      const end = at + batch.counts[i]!;
      results.set(example, {
        logprobs: Float32Array.from(logprobs!.slice(at, end)),
        confidence: Float32Array.from(confidence!.slice(at, end)),
        correct: Uint8Array.from(correct!.slice(at, end)),
      });
      at = end;
    });
  }
  return examples.map((example) => results.get(example)!);
}

function totalLength(example: Example): number {
  return example.promptIds.length + example.responseIds.length;
}
