import * as tf from '@tensorflow/tfjs-core';
import { packSequences } from '../models/packed.js';
import { advantages, type TokenSignals } from '../objectives/advantages.js';
import { batchTotals } from '../objectives/aggregate.js';
import { minillmLoss } from '../objectives/minillmLoss.js';
import { type ObjectiveConfig, resolveObjective } from '../objectives/presets.js';
import { flatten } from '../objectives/ragged.js';
import { permutation, stream } from '../random/streams.js';
import { rollout } from '../rollout/engine.js';
import type { Trajectory } from '../rollout/trajectory.js';
import type { Method, MicroBatch, StepPlan, TrainingContext } from './method.js';
import { distinctIndices } from './order.js';
import { pretrainingBatches } from './pretraining.js';
import { rolloutMetrics, signalMetrics } from './rolloutMetrics.js';
import type { TrainingState } from './state.js';
import { allTokens, microBatches, sharedLogits } from './supervised.js';
import { TeacherLogits } from './teacherLogits.js';

/**
 * MiniLLM (arXiv 2306.08543), Algorithm 1, phase 2:
 *
 *   repeat
 *     collect  sample responses y ~ p̃ = αp + (1−α)q to a set of prompts, scoring every token on the way
 *     step     `inner_epochs` passes over them in minibatches: policy gradient (clipped, with the preset's returns and
 *              baseline) + single-step KL over the whole vocabulary + pretraining loss on plain text
 *
 * Phase 1 is `sft`, whose best checkpoint is this method's `student`. What each preset matches and where it departs from
 * the paper and from the official code stands in docs/minillm.md. No gradient flows through rollouts, teacher,
 * rewards, advantages or importance weights.
 */
export function minillm(): Method {
  const teacherOfRound = new TeacherLogits();
  return {
    stepsPerRound: ({ config }) =>
      (config.rollout.inner_epochs * config.rollout.rollouts) / config.train.batch_size,

    async collect(context, state) {
      state.rollouts = collectRound(context, state);
      return rolloutMetrics(state.rollouts);
    },

    step(context, state): StepPlan {
      const objective = objectiveOf(context);
      const { rows, trajectories } = minibatch(context, state);
      const signals = advantages(asBatch(trajectories), objective);
      const byRow = new Map(trajectories.map((t, i) => [t, i]));
      const totals = batchTotals(trajectories.map((t) => t.responseIds.length));
      const micro = microBatches(trajectories, context.config.train.micro_batch_size).map(
        (part): MicroBatch => {
          const batch = packSequences(part);
          const constants = pick(
            signals,
            trajectories,
            part.map((t) => byRow.get(t)!),
          );
          return {
            constants: () => [
              tf.tensor1d(batch.targets, 'int32'),
              teacherOfRound.rows(
                context,
                state,
                part.map((t) => rows.get(t)!),
              ),
            ],
            loss(params, [targets, teacher]) {
              const logits = sharedLogits(context, params, context.student, batch);
              const inputs = {
                studentLogits: logits,
                teacherLogits: teacher as tf.Tensor2D,
                tokenIds: targets as tf.Tensor1D,
                ...constants,
              };
              const { loss, parts, perToken } = minillmLoss(inputs, objective, totals);
              const share = (x: tf.Tensor1D): tf.Scalar => tf.div(tf.sum(x), totals.tokens);
              return {
                loss,
                parts: {
                  ...parts,
                  clipped_fraction: share(perToken.clipped),
                  ratio: share(perToken.ratio),
                  kl_new: share(perToken.kl),
                },
              };
            },
          };
        },
      );
      return {
        micro: [...micro, ...pretrainingBatches(context, state, objective)],
        metrics: signalMetrics(trajectories, signals),
        tokens: allTokens(trajectories),
      };
    },

    dispose: () => teacherOfRound.dispose(),
  };
}

/** Prompts follow one another through seeded epochs, round after round; each is answered `samples` times. */
function collectRound(context: TrainingContext, state: TrainingState): Trajectory[] {
  const { config, student, teachers, train, eosIds } = context;
  const { rollouts, samples, max_new_tokens, top_k, top_p, batch_size } = config.rollout;
  const objective = objectiveOf(context);
  const prompts = rollouts / samples;
  const picked = distinctIndices(config.seed, 'prompts', state.round - 1, train.length, prompts);
  return rollout(
    student,
    picked.map((index) => ({ index, ids: train[index]!.promptIds })),
    {
      temperature: objective.temperature,
      topK: top_k,
      topP: top_p,
      greedy: false,
      samples,
      maxNewTokens: max_new_tokens,
      eosIds,
      seed: config.seed,
      round: state.round,
      batchSize: batch_size,
      policyVersion: state.step,
      teacher: { model: teachers[0]!, alpha: objective.alpha },
    },
  );
}

/** The responses of this step: every pass shuffles the prompts of the round anew, samples of one prompt stay together. */
function minibatch(
  context: TrainingContext,
  state: TrainingState,
): { rows: Map<Trajectory, number>; trajectories: Trajectory[] } {
  const { rollouts, samples } = context.config.rollout;
  const perStep = context.config.train.batch_size / samples;
  const stepsPerPass = rollouts / context.config.train.batch_size;
  const pass = Math.floor(state.stepInRound / stepsPerPass);
  const order = permutation(rollouts / samples, stream(context.config.seed, 'minibatch', state.round, pass));
  const first = (state.stepInRound % stepsPerPass) * perStep;
  const indices = Array.from(order.subarray(first, first + perStep)).flatMap((prompt) =>
    Array.from({ length: samples }, (_, sample) => prompt * samples + sample),
  );
  const trajectories = indices.map((i) => state.rollouts[i]!);
  return { rows: new Map(trajectories.map((t, i) => [t, indices[i]!])), trajectories };
}

export function objectiveOf({ config }: Pick<TrainingContext, 'config'>): ObjectiveConfig {
  const { preset, ...overrides } = config.objective;
  // Padded whitening counts the slots of the generation buffer, as the official code does.
  return resolveObjective(preset, { max_response: config.rollout.max_new_tokens, ...overrides });
}

function asBatch(trajectories: readonly Trajectory[]): Parameters<typeof advantages>[0] {
  return {
    studentLogprobs: trajectories.map((t) => t.studentLogprobs),
    teacherLogprobs: trajectories.map((t) => t.teacherLogprobs!),
    behaviorLogprobs: trajectories.map((t) => t.behaviorLogprobs),
    kl: trajectories.map((t) => t.kl!),
    groups: trajectories.map((t) => t.promptIndex),
  };
}

/** The constants of some responses, token after token, as the loss takes them. */
function pick(signals: TokenSignals, trajectories: readonly Trajectory[], at: readonly number[]) {
  const select = (x: readonly ArrayLike<number>[]): Float32Array => flatten(at.map((i) => x[i]!));
  return {
    advantages: select(signals.advantages),
    pgWeights: select(signals.pgWeights),
    klWeights: select(signals.klWeights),
    oldLogprobs: select(trajectories.map((t) => t.studentLogprobs)),
  };
}
