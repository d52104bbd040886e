import { oneShard } from '../cluster/shards.js';
import { parameterCount } from '../models/model.js';
import { needsActions, needsValues } from '../objectives/advantages.js';
import type { Pieces } from '../pieces.js';
import { disposeParams } from '../tensor/params.js';
import { batchGradients } from '../training/gradients.js';
import { policyBatches } from '../training/policyBatches.js';
import { signalMetrics } from '../training/rolloutMetrics.js';
import { allTokens, responseTokens } from '../training/supervised.js';
import { Condition, type Setting } from './condition.js';
import { type GradientSpace, gram } from './gradientSpace.js';
import type { Estimator } from './grid.js';
import type { Gram } from './statistics.js';
import { Warmup } from './warmup.js';

/** What is kept of an estimator's M gradients. */
export interface Measurement {
  name: string;
  own: Gram;
  /** With the reference's repeats. */
  cross: Gram;
  /** (Σ w)² / (N Σ w²) of the importance weights over the tokens of a repeat, mean over repeats; 1: all weights equal. */
  effective_sample_size: number;
  cost: Cost;
}

/** Of one estimate: medians of the seconds, means of the tokens. */
export interface Cost {
  /** Sampling the rollouts, the teacher's part in it included. */
  sampling_s: number;
  /** From the rollouts to the gradient: values, advantages, forward and backward pass. */
  gradient_s: number;
  /** Read by the student: while sampling, in the training pass, and in the value head's pass where there is one. */
  student_tokens: number;
  /** Read by the teacher, while sampling. */
  teacher_tokens: number;
  response_tokens: number;
  /** All of it in tokens of the student's forward pass: see `computation`. */
  computation: number;
}

export interface MeasureOptions {
  /** Names of estimators that were measured before: they are passed over. */
  known?: ReadonlySet<string>;
  /** Called after every gradient. */
  onGradient?: () => void;
}

/**
 * M gradient estimates of each estimator, through the code that training runs: rollouts, advantages,
 * loss, backward pass. Each repeat is one optimizer batch of prompts · samples rollouts, so that batch statistics (position
 * means, whitening, the division by the batch's tokens) are those of training. The student does not move; the
 * pretraining loss is left out. A value head and a moving average have learned before (warmup.ts).
 *
 * Yields each measurement as soon as it is complete: the reference first, then by condition.
 */
export function* measure(...given: Parameters<typeof measurePieces>): Generator<Measurement> {
  for (const measurement of measurePieces(...given)) if (measurement) yield measurement;
}

/** `measure`, with undefined at every decoding step and after every gradient. */
export function* measurePieces(
  setting: Setting,
  space: GradientSpace,
  reference: Estimator,
  estimators: readonly Estimator[],
  options: MeasureOptions = {},
): Generator<Measurement | undefined> {
  const isNew = ({ name }: Estimator): boolean => !options.known?.has(name);
  const others = estimators.filter((e) => e.name !== reference.name && isNew(e));
  let base: Repeats | undefined;
  for (const key of new Set([reference, ...others].map(Condition.keyOf))) {
    const group = others.filter((e) => Condition.keyOf(e) === key);
    const condition = new Condition(setting, group[0] ?? reference);
    const warmup = new Warmup(setting, condition);
    try {
      if (!base) {
        base = yield* repeat(setting, space, condition, warmup, reference, options);
        if (isNew(reference)) yield measured(reference, base, base);
      }
      for (const estimator of group)
        yield measured(estimator, yield* repeat(setting, space, condition, warmup, estimator, options), base);
    } finally {
      warmup.dispose();
    }
  }
}

interface Repeats extends Omit<Measurement, 'name' | 'own' | 'cross'> {
  vectors: Float32Array[];
}

function measured({ name }: Estimator, { vectors, ...rest }: Repeats, base: Repeats): Measurement {
  const own = gram(vectors, vectors);
  return { name, own, cross: vectors === base.vectors ? own : gram(vectors, base.vectors), ...rest };
}

function* repeat(
  setting: Setting,
  space: GradientSpace,
  condition: Condition,
  warmup: Warmup,
  { objective }: Estimator,
  options: MeasureOptions,
): Pieces<Repeats> {
  const { models, batchSize } = setting;
  const { shards = oneShard } = models;
  const repeats = setting.prompts.length;
  const ema = yield* warmup.ema(objective);
  const actions = yield* warmup.actions(objective);
  const vectors: Float32Array[] = [];
  const seconds: number[] = [];
  const sums = { ess: 0, packed: 0, responses: 0 };
  for (let m = 0; m < repeats; m++) {
    shards.meet();
    const sampled = yield* condition.repeat(m);
    const began = performance.now() / 1000 - condition.scoringSeconds;
    const trajectories = yield* warmup.valued(sampled, objective);
    const { signals, micro } = policyBatches(models, trajectories, objective, {
      microBatchSize: batchSize,
      teacherLogits: (part) => condition.teacherLogits(part),
      ema,
      actions,
    });
    const grads = batchGradients(micro, models.student.params, shards).grads!;
    seconds.push(performance.now() / 1000 - condition.scoringSeconds - began);
    vectors.push(space.vector(grads));
    disposeParams(grads);
    sums.ess += signalMetrics(trajectories, signals, objective.kl_coef).effective_sample_size!;
    sums.packed += allTokens(sampled);
    sums.responses += responseTokens(sampled);
    options.onGradient?.();
    yield;
  }
  return {
    vectors,
    effective_sample_size: sums.ess / repeats,
    cost: {
      sampling_s: median(condition.samplingSeconds),
      gradient_s: median(seconds),
      ...tokens(setting, objective, sums.packed / repeats, sums.responses / repeats),
    },
  };
}

/**
 * What went through the models, and what it amounts to in tokens of the student's forward pass:
 *
 *     sampling   (P + R) (1 + c)   each prompt is read once for its K samples; c: parameters of the teacher over the student's
 *     training   3 (K P + R)       forward and backward, which counts as two forward passes
 *     values     K P + R           where the objective reads a value head
 *     actions    R h               where it reads all actions: the output head again, h its parameters over the student's
 *
 * @param packed K P + R, the prompts repeated for every sample @param responses R
 */
function tokens(
  { models, samples }: Setting,
  objective: Estimator['objective'],
  packed: number,
  responses: number,
): Omit<Cost, 'sampling_s' | 'gradient_s'> {
  const read = (packed - responses) / samples + responses;
  const [own, teacher] = [models.student, models.teachers[0]!].map(({ config }) => parameterCount(config));
  const passes = needsValues(objective) ? packed : 0;
  const { hiddenSize, embeddingSize = hiddenSize, vocabSize } = models.student.config;
  const actions = needsActions(objective) ? (responses * embeddingSize * vocabSize) / own! : 0;
  return {
    student_tokens: read + packed + passes,
    teacher_tokens: read,
    response_tokens: responses,
    computation: read * (1 + teacher! / own!) + 3 * packed + passes + actions,
  };
}

/** The first repeat warms the engine up; a median does not see it. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
