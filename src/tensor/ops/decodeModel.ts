import * as tf from '@tensorflow/tfjs-core';
import type { AffineWeights, BlockWeights, NormWeights } from './blockWeights.js';
import type { DecodeDims } from './decodeAttention.js';
import * as raw from './raw.js';

/** A whole model up to its last norm. */
export interface DecoderWeights {
  /** Word embeddings [V, D], and learned positions if there are. */
  tokens: tf.Tensor;
  places?: tf.Tensor;
  blocks: BlockWeights[];
  lastNorm: NormWeights;
  eps: number;
  /** For each layer how many tokens back it looks, 0 for all. */
  windows: Int32Array;
  /** Cosines and sines of rotary positions, each [B, Dh/2]. */
  angles?: (positions: Int32Array) => [tf.Tensor2D, tf.Tensor2D];
}

/**
 * One decoding step of a whole model by one kernel (tensor/kernels/decode.cc), which spares a small model most of its time.
 * The same numbers as block after block with `decodeAttention`, up to rounding. Keys and values go into the caches in
 * place. Only with our kernels; no gradient.
 *
 * @param tokens [B] @param positions [B], each in [0, S) @param keys of each layer [B·Hkv·S, Dh] @param values as keys
 * @returns hidden states [B, D]
 */
export function decodeModel(
  model: DecoderWeights,
  tokens: Int32Array,
  positions: Int32Array,
  cache: { keys: tf.Tensor2D[]; values: tf.Tensor2D[] },
  { heads, kvHeads }: Pick<DecodeDims, 'heads' | 'kvHeads'>,
): tf.Tensor2D {
  return tf.tidy(() => {
    const none = tf.tensor1d([], 'float32');
    const norm = ({ gain, bias = none }: NormWeights) => [gain, bias];
    const map = (affine?: AffineWeights) => [affine?.weight ?? none, affine?.bias ?? none];
    // In the order of decode.cc.
    const ofBlock = (block: BlockWeights): tf.Tensor[] => [
      ...norm(block.attentionNorm),
      ...[0, 1, 2].flatMap((i) => map(block.attention[i])),
      ...(block.headNorms ?? [none, none]),
      ...map(block.out),
      ...norm(block.mlpNorm),
      ...map(block.up),
      ...map(block.gate),
      ...map(block.down),
    ];
    const params = [
      model.tokens,
      model.places ?? none,
      ...norm(model.lastNorm),
      ...model.blocks.flatMap(ofBlock),
    ];
    const { int, float } = raw.attr;
    return raw.run<tf.Tensor2D>(
      'MinillmDecode',
      [
        int('L', model.blocks.length),
        int('P', params.length),
        int('heads', heads),
        int('kv_heads', kvHeads),
        float('eps', model.eps),
      ],
      [
        tf.tensor1d(tokens, 'int32'),
        tf.tensor1d(positions, 'int32'),
        ...(model.angles?.(positions) ?? [none, none]),
        tf.tensor1d(model.windows, 'int32'),
        ...cache.keys,
        ...cache.values,
        ...params,
      ],
    );
  });
}
