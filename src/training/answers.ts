import { oneShard } from '../cluster/shards.js';
import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import { rolloutPieces } from '../rollout/engine.js';
import type { RolloutOptions } from '../rollout/options.js';
import type { SamplingOptions } from '../rollout/sampling.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { TrainConfig } from './config.js';
import type { TrainingContext } from './method.js';
import { type Models, sharedVocabulary } from './supervised.js';

/**
 * One response of a model to each example's prompt, in their order. Streams are named by the round and the place in the
 * list, so that a prompt that stands there twice gets two answers.
 *
 * A teacher may end with a token of its own, which to the student is a token like any other: its answer is cut there and
 * closed with the student's end, so that the student learns where an answer ends and not to say the foreign token.
 */
export function* answers(
  context: Models & Pick<TrainingContext, 'config' | 'eosIds' | 'closingId'>,
  model: Model,
  examples: readonly Example[],
  options: SamplingOptions & Pick<RolloutOptions, 'stop'> & { round: number },
): Pieces<Trajectory[]> {
  const { config, eosIds, closingId = eosIds[0], shards = oneShard } = context;
  const foreign = model.config.eosIds.filter((id) => model !== context.student && !eosIds.includes(id));
  const prompts = examples.map((example, index) => ({ index, ids: example.promptIds }));
  const trajectories = yield* shards.map(prompts, (own) =>
    rolloutPieces(model, own, {
      ...options,
      samples: 1,
      maxNewTokens: config.rollout.max_new_tokens,
      eosIds: [...eosIds, ...foreign],
      seed: config.seed,
      batchSize: config.rollout.batch_size,
      policyVersion: 0,
      vocabSize: sharedVocabulary(context),
    }),
  );
  if (closingId !== undefined && foreign.length > 0) {
    for (const { responseIds } of trajectories) {
      const last = responseIds.length - 1;
      if (foreign.includes(responseIds[last]!)) responseIds[last] = closingId;
    }
  }
  return trajectories;
}

/** How student and teacher are sampled by the methods that only learn from the answers. */
export function answerSampling({
  config,
  stop,
}: Pick<TrainingContext, 'config' | 'stop'>): SamplingOptions & Pick<RolloutOptions, 'stop'> {
  return {
    temperature: config.rollout.temperature,
    ...drawing(config.rollout),
    greedy: false,
    ...(stop && { stop }),
  };
}

/** What a configuration says of the draw of a token, but for the temperature, which policy gradients have elsewhere. */
export function drawing(
  rollout: Pick<
    TrainConfig['rollout'],
    'top_k' | 'top_p' | 'min_p' | 'repetition_penalty' | 'no_repeat_ngram'
  >,
): Omit<SamplingOptions, 'temperature' | 'greedy'> {
  const { top_k, top_p, min_p, repetition_penalty, no_repeat_ngram } = rollout;
  return {
    topK: top_k,
    topP: top_p,
    minP: min_p,
    repetitionPenalty: repetition_penalty,
    noRepeatNgram: no_repeat_ngram,
  };
}
