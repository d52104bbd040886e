import * as tf from '@tensorflow/tfjs-core';
import { oneShard, type Shards } from '../cluster/shards.js';
import { weightsOf } from '../models/lora.js';
import { forwardHidden, type Model } from '../models/model.js';
import { packSequences, type Sequence } from '../models/packed.js';
import { countTokens, flatten, type Ragged } from '../objectives/ragged.js';
import { adamw, type Optimizer, type OptimizerState } from '../optim/adamw.js';
import { gatherRows, linear } from '../tensor/ops/index.js';
import { disposeParams, type Params, valueAndGrads } from '../tensor/params.js';
import { GradientTree } from './gradientTree.js';
import { microBatches } from './microBatches.js';

/** V(s) = h(s)·w + b on the student's hidden state h(s), and what its optimizer remembers. Part of the TrainingState. */
export type ValueHead = {
  /** `weight` [D, 1] and `bias` [1]. */
  params: Params;
  optimizer: OptimizerState;
  /** Of baseline `action-value`. */
  actions?: ActionHead;
};

/** D(s,a) = h(s)ᵀ M e_a, what the action a adds to V(s), e_a the row of a in the student's output head (actionHead.ts). */
export type ActionHead = {
  /** `weight`, M [D, D]: what it has learned. */
  params: Params;
  /** As it was before it learned from the round under way: that says D there, for it knows none of its tokens. */
  acting: Params;
};

/** How the head is trained: `value` of a configuration. */
export interface ValueOptions {
  lr: number;
  /** Updates on the responses of a round. */
  steps: number;
}

/** The hidden states h(s_t) [N, D] that predict the response tokens, and of which responses, in the order of the rows. */
export interface ValueFeatures {
  sequences: readonly Sequence[];
  hidden: tf.Tensor2D;
}

/** A head that says 0 of every state: as a baseline it begins as none. The caller owns it. */
export function newValueHead(hiddenSize: number, options: ValueOptions): ValueHead {
  const params: Params = { weight: tf.zeros([hiddenSize, 1]), bias: tf.zeros([1]) };
  return { params, optimizer: optimizerOf(options).init(params) };
}

/** Adam with a constant rate and without decay, on moments of its own. */
function optimizerOf({ lr }: ValueOptions): Optimizer {
  return adamw({ learningRate: lr });
}

/**
 * One pass of the student over finished responses, outside any tape: no gradient of the head reaches the student. The
 * caller disposes `hidden`.
 *
 * @param microBatchSize responses in one pass
 */
export function valueFeatures(
  student: Model,
  responses: readonly Sequence[],
  microBatchSize?: number,
): ValueFeatures {
  const parts = microBatches(responses, microBatchSize);
  const hidden = parts.map((part) =>
    tf.tidy(() => {
      const batch = packSequences(part);
      const all = forwardHidden(weightsOf(student), student.config, batch.ids, batch.batch, batch.length);
      return gatherRows(all, tf.tensor1d(batch.rows, 'int32'));
    }),
  );
  const all = hidden.length === 1 ? hidden[0]! : tf.concat(hidden, 0);
  if (hidden.length > 1) tf.dispose(hidden);
  return { sequences: parts.flat(), hidden: all };
}

/** V(s_t) of every response token, by response. */
export function predictValues(head: ValueHead, features: ValueFeatures): Map<Sequence, Float32Array> {
  const values = tf.tidy(() => valuesOf(head.params, features.hidden));
  const flat = values.dataSync<'float32'>();
  values.dispose();
  let at = 0;
  return new Map(
    features.sequences.map((sequence) => {
      const own = flat.slice(at, at + sequence.responseIds.length);
      at += own.length;
      return [sequence, own];
    }),
  );
}

/** [N] */
function valuesOf({ weight, bias }: Params, hidden: tf.Tensor2D): tf.Tensor1D {
  return tf.reshape(linear(hidden, weight as tf.Tensor2D, bias as tf.Tensor1D), [hidden.shape[0]]);
}

/**
 * The mean squared error of the head on returns, and its gradient:
 *
 *     L = (1/N) Σ_n (V(s_n) − G_n)²
 *
 * Gradient in `weight` and `bias` only; hidden states and returns are constants. The caller owns the gradients.
 *
 * @param returns G of each of `features.sequences`, in their order @param tokens N, where these are a part of the batch
 */
export function valueLoss(
  params: Params,
  features: ValueFeatures,
  returns: Ragged,
  tokens = countTokens(returns),
): { loss: number; grads: Params } {
  const targets = tf.tensor1d(flatten(returns));
  const { value, grads } = valueAndGrads((p) => {
    const errors = tf.sub<tf.Tensor1D>(valuesOf(p, features.hidden), targets);
    return tf.div<tf.Scalar>(tf.sum(tf.mul(errors, errors)), tokens);
  }, params);
  const loss = value.dataSync()[0]!;
  tf.dispose([value, targets]);
  return { loss, grads };
}

/**
 * `steps` Adam updates on the mean squared error over all these responses. Consumes the head.
 *
 * @param features of each of this rank's shards @param returns of the same
 */
export function trainValueHead(
  head: ValueHead,
  features: readonly ValueFeatures[],
  returns: readonly Ragged[],
  options: ValueOptions & { shards?: Shards },
): ValueHead {
  const { shards = oneShard } = options;
  const tokens = shards.together(returns.map(countTokens)).reduce((sum, n) => sum + n, 0);
  const optimizer = optimizerOf(options);
  let { params, optimizer: state } = head;
  for (let step = 0; step < options.steps; step++) {
    const tree = new GradientTree(shards);
    for (const [i, own] of features.entries()) tree.add(valueLoss(params, own, returns[i]!, tokens).grads);
    const grads = tree.total();
    const next = optimizer.step(grads, state, params);
    disposeParams(grads);
    params = next.params;
    state = next.state;
  }
  return { ...head, params, optimizer: state };
}
