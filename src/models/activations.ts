import * as tf from '@tensorflow/tfjs-core';
import { exactGelu, gelu } from '../tensor/ops/index.js';

const silu = (x: tf.Tensor2D): tf.Tensor2D => tf.mul(x, tf.sigmoid(x));

/** Activations between the two maps of a feed-forward block, by the names that `transformers` writes into config.json. */
export const activations = {
  gelu_new: gelu,
  gelu_pytorch_tanh: gelu,
  gelu_fast: gelu,
  gelu: exactGelu,
  relu: tf.relu as (x: tf.Tensor2D) => tf.Tensor2D,
  silu,
  swish: silu,
} satisfies Record<string, (x: tf.Tensor2D) => tf.Tensor2D>;

export type ActivationName = keyof typeof activations;
export const activationNames = Object.keys(activations) as ActivationName[];
