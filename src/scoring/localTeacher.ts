import * as tf from '@tensorflow/tfjs-core';
import type { Model } from '../models/model.js';
import { packSequences, responseLogits, type Sequence } from '../models/packed.js';
import { scoreTokens } from './score.js';
import type { Teacher } from './teacher.js';

/** A model of this process as a `Teacher`. @param batchSize sequences read together */
export function localTeacher(model: Model, batchSize = 16): Teacher {
  return {
    vocabSize: model.config.vocabSize,
    maxPositions: model.config.maxPositions,
    gives: 'full',
    logprobs(sequences) {
      const whole = sequences.map((s) =>
        Int32Array.from([...Array.from(s.promptIds), ...Array.from(s.responseIds)]),
      );
      const scores = scoreTokens(model, whole, { batchSize });
      return scores.map((row, i) => row.slice(sequences[i]!.promptIds.length - 1));
    },
    distributions(sequences) {
      const results: Float32Array[] = [];
      for (let start = 0; start < sequences.length; start += batchSize) {
        results.push(...distributionsOf(model, sequences.slice(start, start + batchSize)));
      }
      return results;
    },
  };
}

function distributionsOf(model: Model, sequences: readonly Sequence[]): Float32Array[] {
  const logp = tf.tidy(() => tf.logSoftmax(responseLogits(model.params, model, packSequences(sequences))));
  const values = logp.dataSync<'float32'>();
  logp.dispose();
  let at = 0;
  return sequences.map(({ responseIds }) => {
    const size = responseIds.length * model.config.vocabSize;
    at += size;
    return values.slice(at - size, at);
  });
}
