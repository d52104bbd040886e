import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { type Rng, stream } from '../random/streams.js';
import {
  causalAttention,
  type Head,
  headLogprob,
  headLogits as logitsOf,
  headRows as rowsOf,
} from '../tensor/ops/index.js';
import { disposeParams, type Params } from '../tensor/params.js';
import { parameter } from './blocks.js';
import { type Attend, type ModelConfig, type ParameterSpec, windowOf } from './config.js';
import { familyOf } from './families.js';
import type { Sequence } from './sequence.js';

/** A language model is a record of parameters and the shape that says how to read them. */
export interface Model {
  config: ModelConfig;
  /** Keyed by Hugging Face name; linear weights are [in, out] whatever the file holds. */
  params: Params;
  /** Of a model with adapters: what they stand on, frozen; `params` is then only what trains (`weightsOf`). */
  base?: Params;
  /** A teacher whose weights are elsewhere, or that was asked before: `params` is empty, and only `responseLogits` can be asked. */
  remote?: RemoteModel;
}

/** What a model elsewhere can be asked: log-probabilities after each token of a response (scoring/teacher.ts). */
export interface RemoteModel {
  gives: 'full' | 'top_k' | 'sampled';
  logprobs(sequences: readonly Sequence[]): Float32Array[];
  distributions(sequences: readonly Sequence[]): Float32Array[];
  /** Of a teacher that was asked before (scoring/cache/): it reads no token any more. */
  cache?: {
    /** That the distributions are at. */
    temperature: number;
    /** Mass of the tokens without a probability of their own, [T], one array a sequence. */
    tails(sequences: readonly Sequence[]): Float32Array[];
    /** Gives up the files that it holds open. */
    close(): void;
  };
}

/**
 * Hidden states after the last norm, from a full causal pass. Differentiable in `params`.
 *
 * Sequences begin at slot 0 and are padded on the right with any valid id: under the causal mask the padding cannot
 * reach a real token, so there is no padding mask; ignore the rows of padding.
 *
 * @param ids [B·T], sequence by sequence
 * @returns [B·T, D]
 * @throws UsageError if an id is outside the vocabulary or T exceeds the model's positions
 */
export function forwardHidden(
  params: Params,
  config: ModelConfig,
  ids: Int32Array,
  batch: number,
  length: number,
): tf.Tensor2D {
  return tf.tidy(() => {
    const dims = { batch, length, heads: config.heads, kvHeads: config.kvHeads, headDim: config.headDim };
    const positions = slotPositions(batch, length);
    checkTokens(config, ids, positions);
    const causal = (layer: number) => ({ ...dims, window: windowOf(config, layer) });
    const attend: Attend = Object.assign(
      (layer: number, q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D) =>
        causalAttention(q, k, v, causal(layer)),
      { causal },
    );
    return familyOf(config).hidden(params, config, tf.tensor1d(ids, 'int32'), positions, attend);
  });
}

/** Disposes all weights of a model, its base's too. The caller must own them. */
export function disposeModel({ params, base = {} }: Model): void {
  disposeParams(params);
  disposeParams(base);
}

/** The model with gradient checkpointing on or off (`ModelConfig.recompute`); the parameters are the same tensors. */
export function withRecompute(model: Model, recompute: boolean): Model {
  return { ...model, config: { ...model.config, recompute } };
}

/** Next-token logits. @param hidden [N, D] @returns [N, V], differentiable in `params` and `hidden` */
export function headLogits(params: Params, config: ModelConfig, hidden: tf.Tensor2D): tf.Tensor2D {
  return logitsOf(hidden, headOf(params, config));
}

/**
 * The log-probabilities of one token a row, ln softmax(headLogits(hidden)[n])[ids[n]], without a gradient and without the
 * matrix of logits (tensor/ops/headLogprob.ts).
 *
 * @param hidden [N, D] @param ids int32 [N] @param logitsBudget logits held at once, where the engine must hold them
 * @returns [N]
 */
export function headLogprobs(
  params: Params,
  config: ModelConfig,
  hidden: tf.Tensor2D,
  ids: tf.Tensor1D,
  logitsBudget?: number,
): tf.Tensor1D {
  return headLogprob(hidden, headOf(params, config), ids, logitsBudget);
}

/** The row e_a of the output head of one token a row, so that headLogits(h)[n][a] = h_n·e_a; no gradient. @param ids int32 [N] @returns [N, D] */
export function headRows(params: Params, config: ModelConfig, ids: tf.Tensor1D): tf.Tensor2D {
  return rowsOf(headOf(params, config), ids, config.vocabSize);
}

function headOf(params: Params, config: ModelConfig): Head {
  return config.tiedHead
    ? { weight: parameter(params, familyOf(config).embedding), tied: true }
    : { weight: parameter(params, 'lm_head.weight'), tied: false };
}

/** Number of values of the whole model, without adapters. A tied head counts once. */
export function parameterCount(config: ModelConfig): number {
  return countOf(familyOf(config).parameters(config));
}

export function countOf(specs: Readonly<Record<string, ParameterSpec>>): number {
  return Object.values(specs).reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
}

/**
 * A new model: weights normal with standard deviation `initializer_range`, biases 0, norm gains 1, as
 * `transformers` begins them (for GPT-2 the maps into the residual stream are scaled by 1/sqrt(2 layers)).
 *
 * Each parameter has its own stream, addressed by its name, filled in the order of its [in, out] layout: the same
 * seed gives the same bytes everywhere, and one more layer changes no other parameter. The caller owns the tensors.
 */
export function initModel(config: ModelConfig, seed: number): Model {
  const params: Params = {};
  for (const [name, { shape, init }] of Object.entries(familyOf(config).parameters(config))) {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
    if (init === 'ones') data.fill(1);
    else if (init !== 'zeros') fillNormal(data, init, stream(seed, 'init', name));
    params[name] = tf.tensor(data, shape);
  }
  return { config, params };
}

/** Box-Muller with both branches: one uniform a number, half the work of `normal` where millions are drawn. */
function fillNormal(data: Float32Array, std: number, rng: Rng): void {
  for (let i = 0; i < data.length; i += 2) {
    const radius = std * Math.sqrt(-2 * Math.log(1 - rng()));
    const angle = 2 * Math.PI * rng();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
  }
}

/** 0..T−1 for each of B sequences. */
export function slotPositions(batch: number, length: number): Int32Array {
  return Int32Array.from({ length: batch * length }, (_, n) => n % length);
}

/** The engines look up out of bounds without a word (wasm) or fail without a name (native), hence this check. */
export function checkTokens(config: ModelConfig, ids: Int32Array, positions: Int32Array): void {
  if (ids.length !== positions.length) {
    throw new UsageError(`${ids.length} token ids given, expected batch times length, ${positions.length}`);
  }
  for (const id of ids) {
    if (!(id >= 0 && id < config.vocabSize)) {
      throw new UsageError(`token id ${id} is outside the model's vocabulary of ${config.vocabSize}`);
    }
  }
  for (const position of positions) {
    if (!(position >= 0 && position < config.maxPositions)) {
      throw new UsageError(
        `position ${position} is outside the model's context of ${config.maxPositions} tokens`,
      );
    }
  }
}
