import * as tf from '@tensorflow/tfjs-core';
import { packSequences } from '../models/packed.js';
import { mixedLogprob } from '../objectives/importance.js';
import type { ObjectiveConfig } from '../objectives/presets.js';
import type { TaskReward } from '../objectives/taskRewards.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { reverseKl, tokenLogprob } from '../tensor/ops/index.js';
import { microBatches } from './microBatches.js';
import { type Models, sharedLogits, teacherLogits } from './supervised.js';

/** A response with what is known of it; the present models say the rest. */
export interface SampledResponse {
  promptIds: Int32Array;
  responseIds: Int32Array;
  /** ln q_old(y_t | s_t) at the sampling temperature. */
  oldLogprobs?: ArrayLike<number>;
  /** ln p(y_t | s_t) at temperature 1. */
  teacherLogprobs?: ArrayLike<number>;
  /** ln p(y_t | s_t) at the sampling temperature; at temperature 1 the same as `teacherLogprobs`. */
  teacherLogprobsT?: ArrayLike<number>;
  /** ρ of a task, weighted and summed: of the response, or of each token. */
  taskReward?: TaskReward['value'];
}

/** A trajectory as the rollout engine records it, and ln p(y_t | s_t) at the temperature, which is inside its ln p̃. */
export interface Rescored {
  trajectory: Trajectory;
  teacherLogprobsT: Float32Array;
}

/**
 * The records that the rollout engine would have written for given responses: one pass of student and teacher over
 * each, instead of sampling. Given numbers are kept as they are, absent ones come from the models:
 *
 *     ln q_old   of the student as it is (then the ratio is 1), at the temperature
 *     ln p       at temperature 1 for the reward, at the temperature inside p̃ = αp + (1−α)q
 *     KL         Σ_v q(v) (ln q(v) − ln p(v)) = E[−r_t | s_t]: q at the temperature, p at temperature 1, as in the reward
 *
 * The KL is always that of the student as it is: nothing in a list of log-probabilities of the sampled tokens says what
 * the rest of the old distribution was. Responses to equal prompts are samples of one prompt (`leave-one-out`).
 */
export function rescore(
  models: Models,
  responses: readonly SampledResponse[],
  objective: Pick<ObjectiveConfig, 'alpha' | 'temperature'>,
  microBatchSize?: number,
): Rescored[] {
  const prompts = new Map<string, number>();
  const results = new Map<SampledResponse, Rescored>();
  for (const part of microBatches(responses, microBatchSize)) {
    const computed = modelValues(models, part, objective.temperature);
    let at = 0;
    for (const response of part) {
      const end = at + response.responseIds.length;
      const own = (x: Float32Array): Float32Array => x.slice(at, end);
      results.set(response, complete(response, own, computed, objective, models.student.config.eosIds));
      at = end;
    }
  }
  return responses.map((response) => {
    const result = results.get(response)!;
    const key = response.promptIds.join();
    if (!prompts.has(key)) prompts.set(key, prompts.size);
    result.trajectory.promptIndex = prompts.get(key)!;
    return result;
  });
}

type Computed = ReturnType<typeof modelValues>;

function complete(
  response: SampledResponse,
  own: (x: Float32Array) => Float32Array,
  computed: Computed,
  { alpha, temperature }: Pick<ObjectiveConfig, 'alpha' | 'temperature'>,
  eosIds: readonly number[],
): Rescored {
  const { promptIds, responseIds, oldLogprobs, teacherLogprobs, taskReward } = response;
  const givenT = response.teacherLogprobsT ?? (temperature === 1 ? teacherLogprobs : undefined);
  const teacherT = givenT ? Float32Array.from(givenT) : own(computed.teacherT);
  const student = oldLogprobs ? Float32Array.from(oldLogprobs) : own(computed.student);
  return {
    trajectory: {
      promptIndex: 0,
      sample: 0,
      promptIds,
      responseIds,
      studentLogprobs: student,
      teacherLogprobs: teacherLogprobs ? Float32Array.from(teacherLogprobs) : own(computed.teacher),
      behaviorLogprobs: student.map((q, t) => mixedLogprob(q, teacherT[t]!, alpha)),
      kl: own(computed.kl),
      entropy: own(computed.entropy),
      collision: own(computed.collision),
      ...(taskReward !== undefined && { rewards: [{ name: 'task', weight: 1, value: taskReward }] }),
      finished: eosIds.includes(responseIds.at(-1)!),
      policyVersion: 0,
      streamKey: '',
    },
    teacherLogprobsT: teacherT,
  };
}

/** What the two models say at the response positions, token after token. */
function modelValues(models: Models, part: readonly SampledResponse[], temperature: number) {
  const batch = packSequences(part);
  const values = tf.tidy(() => {
    const cool = (x: tf.Tensor2D): tf.Tensor2D => (temperature === 1 ? x : tf.div(x, temperature));
    const student = cool(sharedLogits(models, models.student.params, models.student, batch));
    const teacher = teacherLogits(models, batch)[0]!;
    const targets = tf.tensor1d(batch.targets, 'int32');
    const logq = tf.logSoftmax(student);
    const q = tf.exp(logq);
    return {
      student: tokenLogprob(student, targets),
      teacher: tokenLogprob(teacher, targets),
      teacherT: tokenLogprob(cool(teacher), targets),
      kl: reverseKl(student, teacher),
      entropy: tf.neg(tf.sum(tf.mul(q, logq), 1)) as tf.Tensor1D,
      collision: tf.sum(tf.square(q), 1) as tf.Tensor1D,
    };
  });
  const read = (x: tf.Tensor1D): Float32Array => x.dataSync<'float32'>().slice();
  const result = {
    student: read(values.student),
    teacher: read(values.teacher),
    teacherT: read(values.teacherT),
    kl: read(values.kl),
    entropy: read(values.entropy),
    collision: read(values.collision),
  };
  tf.dispose(values);
  return result;
}
