import type { EmaState } from '../objectives/batchStatistics.js';
import type { OptimizerState } from '../optim/adamw.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Params } from '../tensor/params.js';
import type { Replay } from './replay.js';
import type { ValueHead } from './valueHead.js';

/**
 * Everything that changes during training, and nothing else: saving this value and loading it is all that going on
 * bit for bit needs. Randomness is addressed (DESIGN rule: streams are named, not consumed), so no generator is in it.
 */
export interface TrainingState {
  /** Optimizer steps taken. */
  step: number;
  /** Rounds of rollouts begun; 0 before the first. Methods without rollouts stay at 0. */
  round: number;
  /** Optimizer steps taken since the current round began. */
  stepInRound: number;
  params: Params;
  optimizer: OptimizerState;
  /** The rollouts of the current round. */
  rollouts: Trajectory[];
  /** The best validation so far. */
  best: { step: number; value: number } | null;
  /** The validation that was due after this step was broken off. */
  unvalidated?: true;
  /** What baseline `ema` remembers of the batches before. */
  ema?: EmaState;
  /** With baseline `value` or `action-value` or returns `gae`, from the first round on. */
  value?: ValueHead;
  /** What `distillm` remembers. */
  replay?: Replay;
}
