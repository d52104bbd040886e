import * as tf from '@tensorflow/tfjs-core';
import { oneShard } from '../cluster/shards.js';
import { packSequences } from '../models/packed.js';
import type { Pieces } from '../pieces.js';
import { type Prompt, type RolloutOptions, rolloutPieces } from '../rollout/engine.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { type Models, responseTokens, teacherLogits } from '../training/supervised.js';
import type { Estimator } from './grid.js';

/** What is measured on. */
export interface Setting {
  models: Models;
  /** What each repeat answers: the same prompts, or others every time. M lists. */
  prompts: readonly (readonly Prompt[])[];
  /** What the warm-up answers, in turn, as many a round as a repeat. */
  warmupPrompts: readonly Prompt[];
  /** K, responses to each prompt in one estimate. */
  samples: number;
  seed: number;
  maxNewTokens: number;
  eosIds: readonly number[];
  /** Responses in one forward and backward pass, and decoded together; beyond rounding no result depends on it. */
  batchSize: number;
}

/** Rounds from which a value head and a moving average learn before the first repeat. */
export const warmupRounds = 20;

/** Teacher logits are kept up to this many bytes, and computed again for every estimator beyond. */
const KEPT_BYTES = 1 << 30;

/**
 * The rollouts of one way to sample. Estimators that weigh the same samples differently share them, and with them the
 * teacher's logits at their tokens.
 */
export class Condition {
  /** Seconds of sampling each repeat. */
  readonly samplingSeconds: number[] = [];
  /** Seconds spent on teacher logits so far, which training has from sampling. */
  scoringSeconds = 0;
  private readonly rounds = new Map<number, readonly Trajectory[]>();
  private readonly logits = new Map<string, Float32Array>();
  private bytes = 0;

  constructor(
    private readonly setting: Setting,
    private readonly by: Pick<Estimator, 'objective' | 'sampling'>,
  ) {}

  static keyOf({ objective, sampling }: Estimator): string {
    return [sampling, objective.alpha, objective.temperature].join('/');
  }

  /** Of repeat 0..M−1. */
  *repeat(m: number): Pieces<readonly Trajectory[]> {
    const known = this.rounds.get(m);
    if (known) return known;
    const began = performance.now();
    const sampled = yield* this.sample(this.setting.prompts[m]!, warmupRounds + m);
    this.samplingSeconds[m] = (performance.now() - began) / 1000;
    this.rounds.set(m, sampled);
    return sampled;
  }

  /** Of warm-up round 0..`warmupRounds`−1. */
  *warmup(round: number): Pieces<readonly Trajectory[]> {
    const known = this.rounds.get(-1 - round);
    if (known) return known;
    const { prompts, warmupPrompts } = this.setting;
    const count = prompts[0]!.length;
    const turn = prompts[0]!.map((_, i) => warmupPrompts[(round * count + i) % warmupPrompts.length]!);
    const sampled = yield* this.sample([...new Set(turn)], round);
    this.rounds.set(-1 - round, sampled);
    return sampled;
  }

  private sample(prompts: readonly Prompt[], round: number): Pieces<Trajectory[]> {
    const { models, samples, seed, maxNewTokens, eosIds, batchSize } = this.setting;
    const { objective, sampling } = this.by;
    const { shards = oneShard } = models;
    const options: RolloutOptions = {
      temperature: objective.temperature,
      topK: 0,
      topP: 1,
      greedy: false,
      samples,
      scheme: sampling,
      maxNewTokens,
      eosIds,
      seed,
      round,
      batchSize,
      policyVersion: 0,
      teacher: { model: models.teachers[0]!, alpha: objective.alpha },
    };
    return shards.map(prompts, (own) => rolloutPieces(models.student, own, options));
  }

  /** The teacher's logits [N, V] at the tokens of some responses of a repeat; the caller disposes. */
  teacherLogits(part: readonly Trajectory[]): tf.Tensor2D {
    // The parts of a repeat are disjoint: its first response names one.
    const key = part[0]!.streamKey;
    const known = this.logits.get(key);
    const tokens = responseTokens(part);
    if (known) return tf.tensor2d(known, [tokens, known.length / tokens]);
    const began = performance.now();
    const logits = teacherLogits(this.setting.models, packSequences(part))[0]!;
    if (this.bytes + 4 * logits.size <= KEPT_BYTES) {
      this.bytes += 4 * logits.size;
      this.logits.set(key, logits.dataSync<'float32'>().slice());
    }
    this.scoringSeconds += (performance.now() - began) / 1000;
    return logits;
  }
}
