import type { Tokenizer } from '../text/tokenizer.js';

/** What a reward function is asked about: responses, each field a list with one entry for each of them. */
export interface RewardBatch {
  /** What the student was given. */
  prompts: string[];
  /** What it answered, without special tokens. */
  responses: string[];
  /** All fields of the row of `data.train` that the prompt was made of. */
  rows: Record<string, unknown>[];
  /** The text of every response token, the end token included: a reward per token has one number for each. */
  tokens: string[][];
  /** false: cut at the length limit. */
  ended: boolean[];
}

/** For each response a number, or a list with a number for each of its tokens. Finite; may be a promise. */
export type RewardFunction = (
  batch: RewardBatch,
) => readonly (number | readonly number[])[] | Promise<readonly (number | readonly number[])[]>;

/** What is asked cannot answer any more, whatever it is asked. */
export class RewardEnded extends Error {}

/** A reward as a run asks for it. */
export interface RewardSource {
  name: string;
  /** What it is multiplied by in the objective. */
  weight: number;
  /** The module, as messages name it. */
  module?: string;
  /** Seconds for one batch. */
  timeout: number;
  /** Responses in one batch, at most. */
  batchSize: number;
  /** What it answers is looked at before it is used. */
  ask(batch: RewardBatch): Promise<unknown>;
  /** What still runs is given up. */
  close?(): void;
}

/** What a run has to ask its rewards. */
export interface Rewards {
  sources: readonly RewardSource[];
  tokenizer: Tokenizer;
}
