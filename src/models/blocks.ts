import * as tf from '@tensorflow/tfjs-core';
import { UsageError } from '../errors.js';
import { type AffineWeights, affineMap } from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { recomputed } from '../tensor/recomputed.js';
import { recording } from '../tensor/tape.js';
import type { ModelConfig, ParameterSpec } from './config.js';

/** A parameter by name, of the rank that the caller knows it has. */
export function parameter<T extends tf.Tensor>(params: Params, name: string): T {
  const tensor = params[name];
  if (!tensor) throw new UsageError(`the parameters lack ${name}`);
  return tensor as T;
}

/** The linear map `name`, with its bias if the model has one, added to `residual` if there is one. [N, I] to [N, O]. */
export function affine(
  params: Params,
  config: ModelConfig,
  name: string,
  x: tf.Tensor2D,
  bias: boolean,
  residual?: tf.Tensor2D,
): tf.Tensor2D {
  return affineMap(x, affineWeights(params, config, name, bias), residual);
}

/** The linear map `name`, with its bias and its adapter if the model has them. */
export function affineWeights(
  params: Params,
  { lora }: ModelConfig,
  name: string,
  bias: boolean,
): AffineWeights {
  const adapter = lora?.maps[name];
  return {
    weight: parameter(params, `${name}.weight`),
    ...(bias && { bias: parameter(params, `${name}.bias`) }),
    ...(adapter && {
      lora: {
        a: parameter(params, `${name}.lora_A.weight`),
        b: parameter(params, `${name}.lora_B.weight`),
        scale: adapter.scale,
      },
    }),
  };
}

/** The parameters of a linear map. @param transposed true for nn.Linear, false for GPT-2's Conv1D */
export function affineSpec(
  name: string,
  [from, to]: [number, number],
  options: { bias: boolean; transposed: boolean; std: number },
): Record<string, ParameterSpec> {
  return {
    [`${name}.weight`]: { shape: [from, to], transposed: options.transposed, init: options.std, map: true },
    ...(options.bias && { [`${name}.bias`]: { shape: [to], transposed: false, init: 'zeros' as const } }),
  };
}

/**
 * The blocks of a model, one after the other: [N, D] to [N, D], differentiable in x and the parameters.
 *
 * With `config.recompute`, and only while a tape records, the input of each block is all that is kept of it for the backward
 * pass (tensor/recomputed.ts). A block then sees the parameters of its own layer only.
 *
 * @param prefix of the names of a layer's parameters, before its number
 * @param constants what a block reads beside x and parameters (rotary angles); no gradient reaches them
 */
export function throughBlocks(
  params: Params,
  config: ModelConfig,
  x: tf.Tensor2D,
  block: (params: Params, layer: number, x: tf.Tensor2D, constants: tf.Tensor[]) => tf.Tensor2D,
  { prefix, constants = [] }: { prefix: string; constants?: tf.Tensor[] },
): tf.Tensor2D {
  const recompute = config.recompute === true && recording();
  let y = x;
  for (let layer = 0; layer < config.layers; layer++) {
    // Outside differentiation each layer's temporaries are freed at once; under it the tape keeps what it saved.
    y = tf.tidy(() =>
      recompute
        ? recomputed(
            (x, own, kept) => block(own, layer, x, kept),
            y,
            layerOf(params, `${prefix}${layer}.`),
            constants,
          )
        : block(params, layer, y, constants),
    );
  }
  return y;
}

function layerOf(params: Params, prefix: string): Params {
  return Object.fromEntries(Object.entries(params).filter(([name]) => name.startsWith(prefix)));
}
