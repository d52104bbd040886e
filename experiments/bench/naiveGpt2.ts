/** GPT-2 and its training step in the functions that TensorFlow.js documents, as one would write them after its guides. */
import * as tf from '@tensorflow/tfjs-core';

export interface NaiveShape {
  layers: number;
  hiddenSize: number;
  heads: number;
  vocabSize: number;
}

/**
 * A training step on the mean cross-entropy of next tokens, with `tf.train.adam` and variables. Three things cannot be
 * written in the obvious way on WebAssembly (4.22): `tf.gather` has no gradient there, so an embedding is a product with
 * one-hot rows; `tf.oneHot` to float32 writes integers, so it is cast; and a product of [B, T, C] with a matrix has a wrong
 * gradient, so activations are flattened to [B·T, C].
 *
 * @param params initial weights by Hugging Face name, copied @param rows `batch` sequences of length + 1 ids
 * @returns the step, which gives the loss before its update, and what frees its tensors
 */
export function naiveTraining(
  params: Record<string, tf.Tensor>,
  shape: NaiveShape,
  rows: readonly Int32Array[],
  adam: { lr: number; beta1: number; beta2: number; eps: number },
): { step(): number; dispose(): void } {
  const [batch, length] = [rows.length, rows[0]!.length - 1];
  const variables = Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, tf.variable(value, true)]),
  );
  const optimizer = tf.train.adam(adam.lr, adam.beta1, adam.beta2, adam.eps);
  const flat = (from: number) => rows.flatMap((ids) => Array.from(ids.subarray(from, from + length)));
  const step = () => {
    const loss = optimizer.minimize(
      () => {
        const oneHot = (ids: number[]): tf.Tensor2D =>
          tf.cast(tf.oneHot(tf.tensor1d(ids, 'int32'), shape.vocabSize) as tf.Tensor2D, 'float32');
        const logits = forward(variables, shape, oneHot(flat(0)), batch, length);
        return tf.losses.softmaxCrossEntropy(oneHot(flat(1)), logits) as tf.Scalar;
      },
      true,
      Object.values(variables),
    )!;
    const value = loss.dataSync()[0]!;
    loss.dispose();
    return value;
  };
  return {
    step,
    dispose() {
      optimizer.dispose();
      tf.dispose(variables);
    },
  };
}

/** Logits [B·T, V] of one-hot tokens [B·T, V]. */
function forward(
  w: Record<string, tf.Tensor>,
  shape: NaiveShape,
  tokens: tf.Tensor2D,
  batch: number,
  length: number,
): tf.Tensor2D {
  const width = shape.hiddenSize;
  const table = w['transformer.wte.weight'] as tf.Tensor2D;
  const places = tf.slice(w['transformer.wpe.weight']!, [0, 0], [length, width]);
  const norm = (name: string, x: tf.Tensor) => {
    const { mean, variance } = tf.moments(x, -1, true);
    const unit = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5)));
    return tf.add(tf.mul(unit, w[`${name}.weight`]!), w[`${name}.bias`]!);
  };
  const affine = (name: string, x: tf.Tensor) =>
    tf.add(tf.matMul(x as tf.Tensor2D, w[`${name}.weight`] as tf.Tensor2D), w[`${name}.bias`]!);
  const headDim = width / shape.heads;
  const future = tf.sub(1, tf.linalg.bandPart(tf.ones([length, length]), -1, 0));
  const mask = tf.mul(future, -1e9);
  const attention = (name: string, x: tf.Tensor) => {
    const [q, k, v] = tf
      .split(affine(`${name}.c_attn`, x), 3, 1)
      .map((part) => tf.transpose(tf.reshape(part, [batch, length, shape.heads, headDim]), [0, 2, 1, 3]));
    const scores = tf.div(tf.matMul(q!, k!, false, true), Math.sqrt(headDim));
    const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), v!);
    return affine(`${name}.c_proj`, tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, width]));
  };
  const mlp = (name: string, x: tf.Tensor) => affine(`${name}.c_proj`, gelu(affine(`${name}.c_fc`, x)));
  const embedded = tf.reshape(tf.matMul(tokens, table), [batch, length, width]);
  let x: tf.Tensor = tf.reshape(tf.add(embedded, places), [batch * length, width]);
  for (let layer = 0; layer < shape.layers; layer++) {
    const at = `transformer.h.${layer}`;
    x = tf.add(x, attention(`${at}.attn`, norm(`${at}.ln_1`, x)));
    x = tf.add(x, mlp(`${at}.mlp`, norm(`${at}.ln_2`, x)));
  }
  return tf.matMul(norm('transformer.ln_f', x) as tf.Tensor2D, table, false, true);
}

/** GELU in its tanh form, as GPT-2 has it. */
function gelu(x: tf.Tensor): tf.Tensor {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(x, tf.mul(x, x)), 0.044715)), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}
