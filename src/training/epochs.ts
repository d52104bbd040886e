import { UsageError } from '../errors.js';
import { isPolicyGradient, type TrainConfig } from './config.js';

/**
 * Optimizer steps of so many passes over the training rows:
 *
 *     ceil(epochs · rows / batch_size)
 *
 * A method with rounds of rollouts (`minillm`, `opd`) meets `rollouts / samples` different prompts in a round, and what is left of an
 * epoch, fewer than a round asks, is left out of it (training/order.ts). An epoch then has floor(rows · samples / rollouts) rounds, and
 * every round that begins is finished: ceil(epochs · rounds of an epoch) rounds of `inner_epochs · rollouts / batch_size` steps.
 */
export function stepsOfEpochs({ method, train, rollout }: TrainConfig, epochs: number, rows: number): number {
  if (!isPolicyGradient(method)) return atLeast((epochs * rows) / train.batch_size);
  const perEpoch = Math.floor((rows * rollout.samples) / rollout.rollouts);
  return (atLeast(epochs * perEpoch) * rollout.inner_epochs * rollout.rollouts) / train.batch_size;
}

/** `Math.ceil`, for products that rounding may have lifted over a whole number: 0.1 · 30. */
function atLeast(x: number): number {
  return Math.ceil(x * (1 - 1e-12));
}

/**
 * The configuration with `steps` in place of `epochs`: what a run directory keeps.
 *
 * @param rows of the training data that are within the limits
 * @throws UsageError where the warm-up is longer than that
 */
export function withSteps(config: TrainConfig, rows: number, log: (line: string) => void): TrainConfig {
  const { epochs, ...train } = config.train;
  if (epochs === undefined) return config;
  const steps = stepsOfEpochs(config, epochs, rows);
  if (train.warmup > steps)
    throw new UsageError(
      `train.warmup: ${train.warmup} is more than the ${steps} steps of train.epochs ${epochs} over ${rows} rows`,
    );
  log(`train.epochs ${epochs} over ${rows} rows: ${steps} steps`);
  return { ...config, train: { ...train, steps } };
}
