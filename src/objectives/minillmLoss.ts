import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { expectation, gatherRows, reverseKl, tokenLogprob } from '../tensor/ops/index.js';
import { assertShape } from '../tensor/shape.js';
import { type AggregationName, aggregate } from './aggregate.js';
import { entropyLoss } from './entropyBonus.js';
import type { ObjectiveConfig } from './presets.js';
import { type RatioName, type RatioOf, ratios, surrogate } from './surrogate.js';

/** N response tokens, flat, in any fixed order. */
export interface MinillmLossInputs {
  /** The student being trained at the response positions, raw logits [N, V]. */
  studentLogits: tf.Tensor2D;
  /** The teacher at the same positions, raw logits [N, V]; may be absent without `single_step`, then no KL is reported. */
  teacherLogits: tf.Tensor2D | undefined;
  /** y_t, int32 [N]. */
  tokenIds: tf.Tensor1D;
  /** ln q_old(y_t | s_t) at the sampling temperature, [N]. */
  oldLogprobs: Float32Array;
  /** A_t, `pgWeights` and `klWeights` of advantages.ts, flattened, [N] each. */
  advantages: Float32Array;
  pgWeights: Float32Array;
  klWeights: Float32Array;
  /** With a baseline of actions: D(s_n,·) = Q − V of every token, [N, V], a constant in the unit of A, and `stateWeights` of advantages.ts, [N]. */
  actions?: { values: tf.Tensor2D; weights: Float32Array };
  /** Tokens of each response, in the order of the rows; for a `ratio` of responses, which must be whole. */
  lengths?: ArrayLike<number>;
  /** What each token's terms are multiplied by to become the batch's loss, [N]: `tokenCoefficients` of the whole batch. */
  coefficients: Float32Array;
}

export interface MinillmLoss {
  /** pg_loss + act_loss + reg_loss (the latter only with `single_step`) + entropy_coef · ent_loss; differentiable in the student's logits. */
  loss: tf.Scalar;
  parts: { pg_loss: tf.Scalar; act_loss?: tf.Scalar; reg_loss?: tf.Scalar; ent_loss?: tf.Scalar };
  perToken: {
    /** ln q_new(y_t | s_t) at the temperature. */
    logprobs: tf.Tensor1D;
    /** The ratio, before w. */
    ratio: tf.Tensor1D;
    /** 1 where the surrogate is clipped. */
    clipped: tf.Tensor1D;
    pg: tf.Tensor1D;
    /** KL(q_new‖p) at the temperature, before any weight. */
    kl?: tf.Tensor1D;
  };
}

/** How token losses become the batch's: as configured, but the terms of `length_norm: total` carry their 1/T already. */
export function aggregationOf(config: Pick<ObjectiveConfig, 'length_norm' | 'aggregation'>): AggregationName {
  return config.length_norm === 'total' ? 'seq-mean-token-sum' : config.aggregation;
}

/**
 * The MiniLLM loss of one (micro-)batch (arXiv 2306.08543, eq. 7 with the surrogate of Algorithm 1):
 *
 *     pg_loss  = Σ_n c_n max(−A_n ρ_n, −A_n clip(ρ_n, 1±ε)),   ρ_n = pgWeights_n · exp(ln q_new − ln q_old), or another ratio
 *     reg_loss = Σ_n c_n klWeights_n · KL(q_new‖p)_n
 *     ent_loss = −Σ_n c_n H(q_new)_n
 *     loss     = pg_loss + [single_step] reg_loss + entropy_coef · ent_loss
 *
 * With a baseline of actions A_n is less D(s_n, y_n), and the loss has what that takes away on average, without the noise of y_n:
 *
 *     act_loss = −Σ_n c_n stateWeights_n Σ_a q_new(a|s_n) D(s_n, a)
 *
 * Both together have the gradient 0 on average for any D that knows nothing of y_n, also at q_new ≠ q_old, as long as nothing is clipped.
 *
 * Student and teacher logits are both divided by the sampling temperature (as LMOps), so log-probabilities, ratio and
 * KL are at the temperature; the reward inside A is not. c_n (1 / response tokens for the token mean) comes from the totals of
 * the whole optimizer batch, so the losses and gradients of micro-batches add up. At q_new = q_old its gradient is the estimator that the oracle proves.
 *
 * Gradient to the student's logits only: teacher, advantages, D, weights and old log-probabilities are constants, and
 * without `single_step` the KL is reported but not differentiated.
 *
 * @throws UsageError if shapes differ, or a ratio of responses lacks their lengths
 */
export function minillmLoss(
  inputs: MinillmLossInputs,
  config: Pick<ObjectiveConfig, 'cliprange' | 'single_step' | 'temperature'> &
    Partial<Pick<ObjectiveConfig, 'ratio' | 'entropy_coef'>>,
): MinillmLoss {
  const rows = inputs.studentLogits.shape[0];
  const constant = (x: Float32Array, name: string): tf.Tensor1D => {
    const tensor = tf.tensor1d(x);
    assertShape(tensor, [rows], `minillmLoss: ${name}`);
    return tensor;
  };
  const cool = (x: tf.Tensor2D): tf.Tensor2D =>
    config.temperature === 1 ? x : tf.div(x, config.temperature);
  const student = cool(inputs.studentLogits);

  const logprobs = tokenLogprob(student, inputs.tokenIds);
  const constants = {
    oldLogprobs: constant(inputs.oldLogprobs, 'oldLogprobs'),
    advantages: lessDrawn(constant(inputs.advantages, 'advantages'), inputs),
    weights: constant(inputs.pgWeights, 'pgWeights'),
  };
  const of = ratioOf(config.ratio ?? 'token', rows, inputs.lengths);
  const { loss: pg, ratio, clipped } = surrogate(logprobs, constants, config.cliprange, of);
  const pgLoss = aggregate(pg, inputs.coefficients);
  const { entropy_coef = 0 } = config;
  const bonus = entropy_coef === 0 ? undefined : entropyLoss(student, inputs.coefficients);
  const acts = inputs.actions && actionLoss(student, inputs.actions, inputs.coefficients);
  const whole = (loss: tf.Scalar): tf.Scalar => {
    const withActions = acts ? tf.add<tf.Scalar>(loss, acts) : loss;
    return bonus ? tf.add(withActions, tf.mul(bonus, entropy_coef)) : withActions;
  };
  const more = { ...(acts && { act_loss: acts }), ...(bonus && { ent_loss: bonus }) };

  if (!inputs.teacherLogits) {
    if (config.single_step)
      throw new UsageError(
        'minillmLoss: single_step needs the whole distributions of the teacher; switch it off',
      );
    return {
      loss: whole(pgLoss),
      parts: { pg_loss: pgLoss, ...more },
      perToken: { logprobs, ratio, clipped, pg },
    };
  }
  const kl = reverseKl(student, cool(inputs.teacherLogits));
  const regLoss = aggregate(tf.mul(kl, constant(inputs.klWeights, 'klWeights')), inputs.coefficients);

  return {
    loss: whole(config.single_step ? tf.add(pgLoss, regLoss) : pgLoss),
    parts: { pg_loss: pgLoss, reg_loss: regLoss, ...more },
    perToken: { logprobs, ratio, clipped, pg, kl },
  };
}

/** A − D(s_n, y_n), for the surrogate, which differentiates neither. */
function lessDrawn(
  advantages: tf.Tensor1D,
  { actions, tokenIds, studentLogits }: MinillmLossInputs,
): tf.Tensor1D {
  if (!actions) return advantages;
  const [rows, vocab] = studentLogits.shape;
  assertShape(actions.values, [rows, vocab], 'minillmLoss: actions.values');
  const flat = tf.reshape<tf.Rank.R2>(actions.values, [rows * vocab, 1]);
  const places = tokenIds.dataSync<'int32'>().map((y, n) => n * vocab + y);
  return tf.sub(advantages, tf.reshape(gatherRows(flat, tf.tensor1d(places, 'int32')), [rows]));
}

function actionLoss(
  student: tf.Tensor2D,
  { values, weights }: NonNullable<MinillmLossInputs['actions']>,
  coefficients: Float32Array,
): tf.Scalar {
  const w = tf.tensor1d(weights);
  assertShape(w, [student.shape[0]], 'minillmLoss: actions.weights');
  return tf.neg(aggregate(tf.mul<tf.Tensor1D>(expectation(student, values), w), coefficients));
}

function ratioOf(name: RatioName, rows: number, lengths: ArrayLike<number> = []): RatioOf {
  const tokens = Array.from(lengths).reduce((sum, n) => sum + n, 0);
  if (ratios[name].ofResponse && tokens !== rows)
    throw new UsageError(
      `minillmLoss: lengths of ${tokens} tokens for ${rows} rows; ratio ${name} needs those of whole responses`,
    );
  return { name, lengths };
}
