import { oneShard, type Shards } from '../cluster/shards.js';
import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import { rolloutPieces } from '../rollout/engine.js';
import { plainSampling } from '../rollout/sampling.js';
import type { Trajectory } from '../rollout/trajectory.js';

/** A response to one prompt, as its model gave it. */
export type Generation = Pick<
  Trajectory,
  'promptIndex' | 'promptIds' | 'responseIds' | 'studentLogprobs' | 'teacherLogprobs' | 'finished'
>;

/** Everything that a set of responses depends on, but for the weights. */
export interface GenerationRequest {
  /** Whose responses: of the model under evaluation or of its teacher. */
  of: 'model' | 'teacher';
  seed: number;
  greedy: boolean;
  maxNewTokens: number;
  eosIds: readonly number[];
  /** Ids from here on are never drawn. */
  vocabSize: number;
  prompts: readonly Int32Array[];
  /** No n-gram of this length twice in prompt and response; absent: nothing is forbidden. */
  noRepeatNgram?: number;
  /** Into how many shards the prompts are cut, where it is more than one: what is decoded together decides about last bits. */
  shards?: number;
}

/** Where finished responses are kept (runs/generationCache.ts), so that one more metric decodes nothing again. */
export interface GenerationStore {
  load(request: GenerationRequest): Generation[] | undefined;
  save(request: GenerationRequest, generations: readonly Generation[]): void;
}

export interface GenerationOptions {
  maxNewTokens: number;
  batchSize: number;
  eosIds: readonly number[];
  /** Forbids repeated n-grams of this length (`SamplingOptions`); default: none. */
  noRepeatNgram?: number;
  /** How the prompts are shared out; default: one shard, here. */
  shards?: Shards;
  /** Asked by rank 0 alone. */
  store?: GenerationStore;
  onProgress?: (line: string, done: number, total: number) => void;
}

/** One response to every example by the model alone, out of the store where it is there. */
export function* generate(
  model: Model,
  examples: readonly Example[],
  how: Pick<GenerationRequest, 'of' | 'seed' | 'greedy' | 'vocabSize'>,
  options: GenerationOptions,
): Pieces<Generation[]> {
  const { maxNewTokens, batchSize, eosIds, noRepeatNgram, shards = oneShard } = options;
  const store = shards.cluster.rank === 0 ? options.store : undefined;
  const request: GenerationRequest = {
    ...how,
    maxNewTokens,
    eosIds,
    prompts: examples.map((example) => example.promptIds),
    ...(noRepeatNgram && { noRepeatNgram }),
    ...(shards.count > 1 && { shards: shards.count }),
  };
  const kept = shards.first(store?.load(request));
  if (kept) return kept;
  const what = how.greedy
    ? 'greedy decoding'
    : `${how.of === 'teacher' ? 'teacher samples' : 'sampling'}, seed ${how.seed}`;
  const prompts = request.prompts.map((ids, index) => ({ index, ids }));
  const made = yield* shards.map(prompts, (own) =>
    rolloutPieces(model, own, {
      ...plainSampling,
      ...(noRepeatNgram && { noRepeatNgram }),
      greedy: how.greedy,
      samples: 1,
      maxNewTokens,
      eosIds,
      seed: how.seed,
      round: 0,
      batchSize,
      policyVersion: 0,
      vocabSize: how.vocabSize,
      onProgress: (done, total) => options.onProgress?.(what, done, total),
    }),
  );
  store?.save(request, made);
  return made;
}
