import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import { MICRO_BATCH } from '../training/microBatches.js';

/** How often what happens; numbers that follow from the configuration alone, `epochs` also from the data. */
export interface Schedule {
  optimizer_steps: number;
  /** Responses in an optimizer step, and how they are cut: micro-batch times accumulation. */
  global_batch: number;
  micro_batch: number;
  accumulation: number;
  /** Of policy-gradient methods; null for others. */
  rounds: number | null;
  rollouts: number | null;
  rollouts_per_round: number | null;
  steps_per_round: number | null;
  inner_epochs: number | null;
  /** Passes over the training prompts; null when their number is not known. */
  epochs: number | null;
  validations: number;
  checkpoints: number;
}

export function scheduleOf(config: TrainConfig, rows: number | null): Schedule {
  const { train, rollout } = config;
  const shard = train.batch_size / train.shards;
  const micro = Math.min(train.micro_batch_size ?? MICRO_BATCH, shard);
  const policy = isPolicyGradient(config.method);
  const perRound = (rollout.inner_epochs * rollout.rollouts) / train.batch_size;
  const rounds = Math.ceil(train.steps / perRound);
  const prompts = policy ? (rounds * rollout.rollouts) / rollout.samples : train.steps * train.batch_size;
  return {
    optimizer_steps: train.steps,
    global_batch: train.batch_size,
    micro_batch: micro,
    accumulation: train.shards * Math.ceil(shard / micro),
    rounds: policy ? rounds : null,
    rollouts: policy ? rounds * rollout.rollouts : null,
    rollouts_per_round: policy ? rollout.rollouts : null,
    steps_per_round: policy ? perRound : null,
    inner_epochs: policy ? rollout.inner_epochs : null,
    epochs: rows === null ? null : prompts / rows,
    validations: (config.data.valid ?? config.data.wordnet) ? 1 + every(train.steps, config.eval.every) : 0,
    checkpoints: every(train.steps, config.checkpoint.every),
  };
}

/** Times that something happens every so many steps, and after the last. */
function every(steps: number, interval: number): number {
  if (steps === 0) return 0;
  return interval === 0 ? 1 : Math.ceil(steps / interval);
}
