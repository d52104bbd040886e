import { oneShard } from '../cluster/shards.js';
import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import { rolloutPieces } from '../rollout/engine.js';
import type { SamplingOptions } from '../rollout/sampling.js';
import type { Trajectory } from '../rollout/trajectory.js';
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
  options: SamplingOptions & { round: number },
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
export function answerSampling({ config }: Pick<TrainingContext, 'config'>): SamplingOptions {
  const { temperature, top_k, top_p } = config.rollout;
  return { temperature, topK: top_k, topP: top_p, greedy: false };
}
