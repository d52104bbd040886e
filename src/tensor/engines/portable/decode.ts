import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../../kernels.js';
import type { AffineWeights, BlockWeights, DecoderWeights, NormWeights } from '../../weights.js';
import { activations } from './activations.js';
import { addressable } from './memory.js';
import { norms } from './norms.js';
import { products } from './products.js';
import { rows as rowKernels, writeRows } from './rows.js';

/** Added to the score of a slot that is not to be read; its exponential is exactly 0. */
const HIDDEN = -1e9;

type Dims = Parameters<Kernels['decodeAttention']>[5];

/** All slots of the caches are read, under a mask. */
export const decodeAttention: Kernels['decodeAttention'] = (q, k, v, cache, positions, dims) =>
  tf.tidy(() => {
    const { heads, kvHeads, window } = dims;
    const batch = positions.length;
    const [, headDim] = cache.keys.shape;
    const slots = cache.keys.shape[0] / (batch * kvHeads);
    const rows = Int32Array.from(
      { length: batch * kvHeads },
      (_, i) => i * slots + positions[Math.floor(i / kvHeads)]!,
    );
    const [keys, values] = [
      [cache.keys, k],
      [cache.values, v],
    ].map(([buffer, x]) => writeRows(buffer!, rows, tf.reshape(x!, [rows.length, headDim]))) as [
      tf.Tensor2D,
      tf.Tensor2D,
    ];
    const bias = new Float32Array(batch * slots).fill(HIDDEN);
    positions.forEach((position, b) => {
      const first = window > 0 ? Math.max(0, position + 1 - window) : 0;
      bias.fill(0, b * slots + first, b * slots + position + 1);
    });
    const shape = [batch, kvHeads, slots, headDim];
    const qh = tf.reshape(tf.mul(q, 1 / Math.sqrt(headDim)), [batch, kvHeads, heads / kvHeads, headDim]);
    const scores = tf.matMul(qh, tf.reshape(keys, shape), false, true); // [B, Hkv, G, S]
    const p = tf.softmax(tf.add(scores, tf.tensor4d(bias, [batch, 1, 1, slots])));
    // For a single matrix on the right wasm keeps a packed copy under its id, and would not see rows written later.
    const read = batch * kvHeads === 1 && addressable() ? tf.clone(values) : values;
    return tf.reshape<tf.Rank.R2>(tf.matMul(p, tf.reshape(read, shape)), [batch, heads * headDim]);
  });

/** Block after block of the other kernels. */
export const decode: Kernels['decode'] = (model, tokens, positions, cache, dims) =>
  tf.tidy(() => {
    const embedded = rowKernels.gatherRows(model.tokens, tf.tensor1d(tokens, 'int32'));
    let x = model.places
      ? tf.add<tf.Tensor2D>(embedded, rowKernels.gatherRows(model.places, tf.tensor1d(positions, 'int32')))
      : embedded;
    const angles = model.angles?.(positions);
    model.blocks.forEach((block, layer) => {
      const own = { keys: cache.keys[layer]!, values: cache.values[layer]! };
      const of = { ...dims, window: model.windows[layer]! };
      x = tf.tidy(() => throughBlock(x, block, model, { angles, positions, cache: own, dims: of }));
    });
    return normed(x, model.lastNorm, model.eps);
  });

interface Step {
  angles: [tf.Tensor2D, tf.Tensor2D] | undefined;
  positions: Int32Array;
  cache: { keys: tf.Tensor2D; values: tf.Tensor2D };
  dims: Dims;
}

function throughBlock(
  x: tf.Tensor2D,
  block: BlockWeights,
  { eps }: DecoderWeights,
  { angles, positions, cache, dims }: Step,
): tf.Tensor2D {
  const { heads, kvHeads } = dims;
  const headDim = cache.keys.shape[1];
  const h = normed(x, block.attentionNorm, eps);
  const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
  const maps = block.attention.map((map) => affine(h, map));
  const [q, k, v] = (maps.length === 1 ? tf.split(maps[0]!, widths, 1) : maps) as [
    tf.Tensor2D,
    tf.Tensor2D,
    tf.Tensor2D,
  ];
  const ready = (part: tf.Tensor2D, which: 0 | 1, count: number): tf.Tensor2D => {
    const gain = block.headNorms?.[which];
    const even = gain
      ? tf.reshape<tf.Rank.R2>(norms.rmsNorm(tf.reshape(part, [-1, headDim]), gain, eps)[0], part.shape)
      : part;
    return angles ? activations.rotary(even, angles, count, 1) : even;
  };
  const attended = decodeAttention(ready(q, 0, heads), ready(k, 1, kvHeads), v, cache, positions, dims);
  const y = affine(attended, block.out, x);
  const m = normed(y, block.mlpNorm, eps);
  const up = affine(m, block.up);
  const inner = block.gate ? activations.swiglu(affine(m, block.gate), up) : activations.gelu(up);
  return affine(inner, block.down, y);
}

function affine(x: tf.Tensor2D, { weight, bias, lora }: AffineWeights, residual?: tf.Tensor2D): tf.Tensor2D {
  if (!lora) return products.matMul(x, weight, { bias, residual });
  const low = tf.mul<tf.Tensor2D>(products.matMul(x, lora.a), lora.scale);
  return products.matMul(x, weight, { bias, residual: products.matMul(low, lora.b, { residual }) });
}

const normed = (x: tf.Tensor2D, { gain, bias }: NormWeights, eps: number): tf.Tensor2D =>
  bias ? norms.layerNorm(x, gain, bias, eps)[0] : norms.rmsNorm(x, gain, eps)[0];
