import * as tf from '@tensorflow/tfjs-core';
import { oneShard, type Shards } from '../cluster/shards.js';
import { weightsOf } from '../models/lora.js';
import { headLogits, headRows, type Model } from '../models/model.js';
import { countTokens, flatten, type Ragged } from '../objectives/ragged.js';
import { linear } from '../tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../tensor/params.js';
import { GradientTree } from './gradientTree.js';
import type { ActionHead, ValueFeatures } from './valueHead.js';

/** Tokens that what was learned before counts for, beside those of a round: one seen once hardly moves the head. */
const PRIOR = 16;
/** Steps of the conjugate gradients; with such a prior more of them change nothing (docs/estimators.md). */
const STEPS = 5;

/** h(s_t) and e_{y_t} of the drawn tokens, [N, D] each. */
export interface DrawnFeatures {
  hidden: tf.Tensor2D;
  drawn: tf.Tensor2D;
}

/** A head that says 0 of every action: baseline `action-value` begins as `value`. The caller owns it. */
export function newActionHead(width: number): ActionHead {
  return { params: { weight: tf.zeros([width, width]) }, acting: { weight: tf.zeros([width, width]) } };
}

/** What the head learns from; `drawn` is the caller's, `hidden` is that of `features`. */
export function drawnFeatures(student: Model, { sequences, hidden }: ValueFeatures): DrawnFeatures {
  const ids = sequences.flatMap(({ responseIds }) => Array.from(responseIds));
  const drawn = tf.tidy(() => headRows(weightsOf(student), student.config, tf.tensor1d(ids, 'int32')));
  return { hidden, drawn };
}

/**
 * D(s_n, a) of every action, [N, V]: the student's output head behind the map, so that actions which the student takes for alike
 * are alike, drawn before or not.
 *
 * @param hidden h(s_n) [N, D], of the student with the weights `all`; losses take D for a constant
 */
export function actionValues(
  { weight }: Params,
  all: Params,
  config: Model['config'],
  hidden: tf.Tensor2D,
): tf.Tensor2D {
  return headLogits(all, config, linear(hidden, weight as tf.Tensor2D));
}

/** D(s_n, y_n), [N] */
function drawnValues({ weight }: Params, { hidden, drawn }: DrawnFeatures): tf.Tensor1D {
  return tf.sum(tf.mul(linear(hidden, weight as tf.Tensor2D), drawn), 1);
}

/** D(s_t, y_t) as numbers, in the order of the rows. */
export function predictDrawn(params: Params, features: DrawnFeatures): Float32Array {
  const values = tf.tidy(() => drawnValues(params, features));
  const numbers = values.dataSync<'float32'>().slice();
  values.dispose();
  return numbers;
}

/**
 * The map that explains best what V leaves of the returns without going far from what it was:
 *
 *     M ← argmin Σ_n (h_nᵀ M e_{y_n} − (G_n − V(s_n)))² + 16 m |M − M_before|²,   m the mean of |h_n|² |e_{y_n}|²
 *
 * by conjugate gradients from M_before. No rate has to fit the scale of the returns. What it said before goes on speaking
 * (`acting`) for the round that it has now learned from. Consumes the head.
 *
 * @param features of each of this rank's shards @param residuals G − V of the same, in the order of the rows
 */
export function trainActionHead(
  head: ActionHead,
  features: readonly DrawnFeatures[],
  residuals: readonly Ragged[],
  shards: Shards = oneShard,
): ActionHead {
  const { tokens, scale } = shards
    .together(features.map((own, i) => ({ tokens: countTokens(residuals[i]!), scale: squaredNorms(own) })))
    .reduce((sum, own) => ({ tokens: sum.tokens + own.tokens, scale: sum.scale + own.scale }));
  const decay = (PRIOR * scale) / tokens;
  const targets = residuals.map(flatten);
  /** Half the gradient of the sum of squares, at some map; the map itself where nothing is aimed at. */
  const slope = (weight: tf.Tensor, aims: boolean): tf.Tensor => {
    const tree = new GradientTree(shards);
    for (const [i, own] of features.entries()) {
      const { value, grads } = valueAndGrads(
        (p) => {
          const said = drawnValues(p, own);
          const errors = aims ? tf.sub<tf.Tensor1D>(said, tf.tensor1d(targets[i]!)) : said;
          return tf.div(tf.sum(tf.mul(errors, errors)), 2) as tf.Scalar;
        },
        { weight },
      );
      value.dispose();
      tree.add(grads);
    }
    return tree.total().weight!;
  };
  const first = slope(head.params.weight!, true);
  const step = conjugateGradients(first, decay, (direction) => slope(direction, false));
  const weight = tf.sub(head.params.weight!, step);
  tf.dispose([first, step]);
  disposeParams(head.acting);
  return { params: { weight }, acting: head.params };
}

/** x with (A + decay) x = b, A symmetric and not negative, after `STEPS` steps from 0. @param product A times a tensor */
function conjugateGradients(b: tf.Tensor, decay: number, product: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const dot = (x: tf.Tensor, y: tf.Tensor): number => tf.tidy(() => tf.sum(tf.mul(x, y)).dataSync()[0]!);
  const plus = (x: tf.Tensor, factor: number, y: tf.Tensor): tf.Tensor =>
    tf.tidy(() => tf.add(x, tf.mul(y, factor)));
  let [x, residual, direction] = [tf.zerosLike(b), b.clone(), b.clone()];
  let size = dot(residual, residual);
  for (let i = 0; i < STEPS && size > 0; i++) {
    const own = product(direction);
    const image = plus(own, decay, direction);
    const length = size / dot(direction, image);
    const next = [plus(x, length, direction), plus(residual, -length, image)] as const;
    const left = dot(next[1], next[1]);
    const turned = plus(next[1], left / size, direction);
    tf.dispose([own, image, x, residual, direction]);
    [x, residual, direction, size] = [...next, turned, left];
  }
  tf.dispose([residual, direction]);
  return x;
}

/** Σ_n |h_n|² |e_{y_n}|² */
function squaredNorms({ hidden, drawn }: DrawnFeatures): number {
  const squares = (x: tf.Tensor2D): tf.Tensor1D => tf.sum(tf.mul(x, x), 1);
  return tf.tidy(() => tf.sum(tf.mul(squares(hidden), squares(drawn))).dataSync()[0]!);
}
