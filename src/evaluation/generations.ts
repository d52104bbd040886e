import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import { rollout } from '../rollout/engine.js';
import { plainSampling } from '../rollout/sampling.js';
import type { Trajectory } from '../rollout/trajectory.js';

export interface GenerationOptions {
  maxNewTokens: number;
  batchSize: number;
  eosIds: readonly number[];
  onProgress?: (line: string, done: number, total: number) => void;
}

/** One response to every example, scored on the way by `scorer` when there is one. */
export function generate(
  model: Model,
  scorer: Model | undefined,
  examples: readonly Example[],
  how: { seed: number; greedy: boolean },
  options: GenerationOptions,
  what: string,
): Trajectory[] {
  return rollout(
    model,
    examples.map((example, index) => ({ index, ids: example.promptIds })),
    {
      ...plainSampling,
      greedy: how.greedy,
      samples: 1,
      maxNewTokens: options.maxNewTokens,
      eosIds: options.eosIds,
      seed: how.seed,
      round: 0,
      batchSize: options.batchSize,
      policyVersion: 0,
      ...(scorer && { teacher: { model: scorer, alpha: 0 } }),
      onProgress: (done, total) => options.onProgress?.(what, done, total),
    },
  );
}
