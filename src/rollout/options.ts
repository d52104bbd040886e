import type * as tf from '@tensorflow/tfjs-core';
import type { Model } from '../models/model.js';
import type { Rng } from '../random/streams.js';
import type { SamplingOptions } from './sampling.js';
import type { SamplingSchemeName } from './uniforms.js';

/** One prompt to answer. `index` names its random streams, so it must not depend on batching or order. */
export interface Prompt {
  index: number;
  ids: ArrayLike<number>;
}

export interface RolloutOptions extends SamplingOptions {
  /** Responses per prompt (K); they share one prefill. */
  samples: number;
  /** How these samples' random numbers depend on one another; default `independent`. */
  scheme?: SamplingSchemeName;
  maxNewTokens: number;
  /** Tokens that end a response; the token itself is part of it. Empty: never stop early. */
  eosIds: readonly number[];
  /**
   * Whether a response ends with its last token, asked after every token (`stopsAt`); it is then as finished as by an end token,
   * and the token is part of it. Must depend on the tokens alone.
   */
  stop?: (responseIds: readonly number[]) => boolean;
  seed: number;
  /** Part of the stream's address: the round of on-policy training, 0 elsewhere. */
  round: number;
  /** Responses decoded together. Speed and memory only: no result depends on it. */
  batchSize: number;
  /** Optimizer step of the student, written into the trajectories. */
  policyVersion: number;
  /** Scores every state while sampling, and takes part in it with share alpha. */
  teacher?: { model: Model; alpha: number };
  /** Ids from here on are never drawn; default: every id that all models here have. */
  vocabSize?: number;
  /**
   * Sees the teacher's logits [B, V] at every decoding step, and the token that each row is about to be given
   * (undefined: none). The tensor lives only during the call.
   */
  onTeacherLogits?: (logits: tf.Tensor2D, next: readonly (NextToken | undefined)[]) => void;
  /** Called with the number of responses finished so far, whenever it has grown. */
  onProgress?: (done: number, total: number) => void;
}

/** Token number `token` of response number `response`, in the order in which `rollout` returns them. */
export interface NextToken {
  response: number;
  token: number;
}

/** A response being written. Once done it may stay in the batch for a while: it is decoded on and nothing is recorded. */
export interface Slot {
  prompt: Prompt;
  sample: number;
  order: number;
  rng: Rng;
  streamKey: string;
  tokens: number[];
  studentLogprobs: number[];
  behaviorLogprobs: number[];
  entropy: number[];
  collision: number[];
  teacherLogprobs: number[];
  kl: number[];
  finished: boolean;
  limit: number;
}
