import { oneShard } from '../cluster/shards.js';
import { needsValues } from '../objectives/advantages.js';
import { type ObjectiveConfig, opdObjective, resolveObjective } from '../objectives/presets.js';
import { type Pieces, paused } from '../pieces.js';
import { permutation, stream } from '../random/streams.js';
import { type RolloutOptions, rolloutPieces } from '../rollout/engine.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { drawing } from './answers.js';
import { goldBatches } from './goldLoss.js';
import type { Method, StepPlan, TrainingContext } from './method.js';
import { distinctIndices } from './order.js';
import { policyBatches } from './policyBatches.js';
import { pretrainingBatches, pretrainingTeacherTokens, TextTeacher } from './pretraining.js';
import { scoreRemotely } from './remoteRound.js';
import { rescore } from './rescore.js';
import { rolloutMetrics, signalMetrics } from './rolloutMetrics.js';
import type { TrainingState } from './state.js';
import { allTokens, sharedVocabulary } from './supervised.js';
import { scoreRewards } from './taskRewards.js';
import { type Capture, TeacherLogits } from './teacherLogits.js';
import { valueRound } from './valueRound.js';

/**
 * MiniLLM (arXiv 2306.08543), Algorithm 1, phase 2:
 *
 *   repeat
 *     collect  sample responses y ~ p̃ = αp + (1−α)q to a set of prompts, scoring every token on the way
 *     step     `inner_epochs` passes over them in minibatches: policy gradient (clipped, with the preset's returns and
 *              baseline) + single-step KL over the whole vocabulary + pretraining loss on plain text
 *
 * Phase 1 is `sft`, whose best checkpoint is this method's `student`. What each preset matches and where it departs from
 * the paper and from the official code stands in docs/minillm.md. With `rewards` the objective is that of docs/rewards.md. No gradient flows through rollouts, teacher,
 * rewards, advantages or importance weights.
 */
export function minillm(): Method {
  const teacherOfRound = new TeacherLogits();
  const teacherOfText = new TextTeacher();
  return {
    stepsPerRound: ({ config }) =>
      (config.rollout.inner_epochs * config.rollout.rollouts) / config.train.batch_size,

    async collect(context, state) {
      const { rollouts, max_new_tokens } = context.config.rollout;
      const capture = scoredLater(context)
        ? undefined
        : teacherOfRound.capture(context, state.round, rollouts, max_new_tokens);
      const sampled = await paused(collectRound(context, state, capture), context.pause);
      state.rollouts = await scoreRewards(context, sampled);
      return { ...rolloutMetrics(state.rollouts), ...learnValues(context, state) };
    },

    async reenter(context, state) {
      if (scoredLater(context)) return;
      const replay = teacherOfRound.replay(
        context,
        state.round,
        state.rollouts,
        rolloutOptions(context, state),
      );
      await paused(replay, context.pause);
      context.shards?.meet();
    },

    step(context, state): StepPlan {
      const objective = objectiveOf(context);
      const { rows, trajectories } = minibatch(context, state);
      const { signals, micro } = policyBatches(context, trajectories, objective, {
        microBatchSize: context.config.train.micro_batch_size,
        ema: state.ema,
        actions: state.value?.actions?.acting,
        teacherLogits: (part) =>
          context.teachers[0]!.remote?.gives === 'sampled'
            ? undefined
            : teacherOfRound.rows(
                context,
                state.round,
                state.rollouts,
                part.map((t) => rows.get(t)!),
                rolloutOptions(context, state),
                !scoredLater(context),
              ),
      });
      if (signals.ema) state.ema = signals.ema;
      return {
        micro: [
          ...micro,
          ...pretrainingBatches(context, state, objective, teacherOfText),
          ...goldBatches(context, trajectories, objective),
        ],
        metrics: signalMetrics(trajectories, signals, objective.kl_coef),
        tokens: allTokens(trajectories),
        teacherTokens:
          (state.stepInRound === 0 ? allTokens(state.rollouts) : 0) +
          pretrainingTeacherTokens(context, state, objective),
      };
    },

    dispose() {
      teacherOfRound.dispose();
      teacherOfText.dispose();
    },
  };
}

/**
 * Prompts follow one another through seeded epochs, round after round; each is answered `samples` times. The order is that in
 * which the methods on gold responses meet the examples (`batchOf`). With `rollout.states: gold` the gold responses stand in for the
 * samples, scored by both models as they are.
 */
function collectRound(
  context: TrainingContext,
  state: TrainingState,
  capture: Capture | undefined,
): Pieces<Trajectory[]> {
  const { config, student, teachers, train, shards = oneShard } = context;
  const { rollouts, samples } = config.rollout;
  const prompts = rollouts / samples;
  const picked = distinctIndices(config.seed, 'train', state.round - 1, train.length, prompts).map(
    (index) => ({ index, ids: train.at(index)!.promptIds }),
  );
  if (config.rollout.states === 'gold')
    return shards.map(picked, function* (own) {
      const gold = own.map(({ index }) => train.at(index)!);
      const scored = rescore(context, gold, objectiveOf(context), config.train.micro_batch_size);
      yield;
      return scored.map(({ trajectory }, i) => ({
        ...trajectory,
        promptIndex: own[i]!.index,
        policyVersion: state.step,
      }));
    });
  return shards.map(picked, function* (own, first) {
    const observer = capture && { onTeacherLogits: capture(first * samples) };
    const options = { ...rolloutOptions(context, state), ...observer };
    const sampled = yield* rolloutPieces(student, own, options);
    return teachers[0]!.remote ? scoreRemotely(context, sampled, objectiveOf(context)) : sampled;
  });
}

/** Whether the teacher's logits are not met while sampling: it is elsewhere, or nothing is sampled. */
const scoredLater = ({ teachers, config }: TrainingContext): boolean =>
  teachers[0]!.remote !== undefined || config.rollout.states === 'gold';

function rolloutOptions(context: TrainingContext, state: TrainingState): RolloutOptions {
  const { config, teachers, eosIds, stop } = context;
  const { samples, sampling, max_new_tokens, batch_size } = config.rollout;
  const { temperature, alpha } = objectiveOf(context);
  return {
    temperature,
    ...drawing(config.rollout),
    greedy: false,
    ...(stop && { stop }),
    samples,
    scheme: sampling,
    maxNewTokens: max_new_tokens,
    eosIds,
    seed: config.seed,
    round: state.round,
    batchSize: batch_size,
    policyVersion: state.step,
    // A remote teacher scores the finished responses (`scoreRemotely`); alpha is 0 then.
    ...(teachers[0]!.remote
      ? { vocabSize: sharedVocabulary(context) }
      : { teacher: { model: teachers[0]!, alpha } }),
  };
}

/** Values for the round that was just sampled, and a head that has learned from it, where the objective reads values. */
function learnValues(context: TrainingContext, state: TrainingState): Record<string, number> {
  const objective = objectiveOf(context);
  if (!needsValues(objective)) return {};
  const { value, train } = context.config;
  const options = { ...value, microBatchSize: train.micro_batch_size };
  const { trajectories, head, metrics } = valueRound(
    context,
    state.rollouts,
    objective,
    state.value,
    options,
  );
  state.rollouts = trajectories;
  state.value = head;
  return metrics;
}

/**
 * The responses of this step: every pass shuffles the prompts of the round anew, samples of one prompt stay together. Of every shard
 * of the round a minibatch takes equally many, which are that shard of the minibatch: a rank learns from what it has sampled.
 */
function minibatch(
  { config, shards = oneShard }: TrainingContext,
  state: TrainingState,
): { rows: Map<Trajectory, number>; trajectories: Trajectory[] } {
  const { rollouts, samples } = config.rollout;
  const prompts = rollouts / samples / shards.count;
  const perStep = config.train.batch_size / samples / shards.count;
  const stepsPerPass = rollouts / config.train.batch_size;
  const pass = Math.floor(state.stepInRound / stepsPerPass);
  const first = (state.stepInRound % stepsPerPass) * perStep;
  const indices = Array.from({ length: shards.count }, (_, shard) => {
    const name = [state.round, pass, ...(shards.count > 1 ? [shard] : [])];
    const order = permutation(prompts, stream(config.seed, 'minibatch', ...name));
    return Array.from(order.subarray(first, first + perStep)).flatMap((prompt) =>
      Array.from({ length: samples }, (_, sample) => (shard * prompts + prompt) * samples + sample),
    );
  }).flat();
  const trajectories = indices.map((i) => state.rollouts[i]!);
  return { rows: new Map(trajectories.map((t, i) => [t, indices[i]!])), trajectories };
}

export function objectiveOf({ config }: Pick<TrainingContext, 'config'>): ObjectiveConfig {
  const { preset, ...overrides } = config.objective;
  // Padded whitening counts the slots of the generation buffer, as the official code does.
  const slots = { max_response: config.rollout.max_new_tokens };
  return config.method === 'opd'
    ? resolveObjective('paper', { ...slots, ...opdObjective, ...overrides })
    : resolveObjective(preset, { ...slots, ...overrides });
}
