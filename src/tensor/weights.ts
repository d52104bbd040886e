import type * as tf from '@tensorflow/tfjs-core';

/** A map [I, O], with its bias [O] if it has one, and its low-rank adapter. */
export interface AffineWeights {
  weight: tf.Tensor2D;
  bias?: tf.Tensor1D;
  lora?: LoraWeights;
}

/** What LoRA (Hu et al., arXiv 2106.09685, eq. 3) adds to a map: scale · (x a) b. */
export interface LoraWeights {
  /** A, [I, r] */
  a: tf.Tensor2D;
  /** B, [r, O] */
  b: tf.Tensor2D;
  scale: number;
}

/** A LayerNorm, or without a bias an RMSNorm; [D] each. */
export interface NormWeights {
  gain: tf.Tensor1D;
  bias?: tf.Tensor1D;
}

/** A pre-norm block: x + out(attention(norm(x))), then y + down(act(norm(y))). */
export interface BlockWeights {
  attentionNorm: NormWeights;
  /** One map for queries, keys and values side by side, or one each. */
  attention: [AffineWeights] | [AffineWeights, AffineWeights, AffineWeights];
  /** Gains of the norms of each head's query and key. */
  headNorms?: [tf.Tensor1D, tf.Tensor1D];
  out: AffineWeights;
  mlpNorm: NormWeights;
  up: AffineWeights;
  /** With a gate act is silu(gate) · up, without one GELU. */
  gate?: AffineWeights;
  down: AffineWeights;
}

/** A whole model up to its last norm. */
export interface DecoderWeights {
  /** Word embeddings [V, D], and learned positions if there are. */
  tokens: tf.Tensor2D;
  places?: tf.Tensor2D;
  blocks: BlockWeights[];
  lastNorm: NormWeights;
  eps: number;
  /** For each layer how many tokens back it looks, 0 for all. */
  windows: Int32Array;
  /** Cosines and sines of rotary positions, each [B, Dh/2]. */
  angles?: (positions: Int32Array) => [tf.Tensor2D, tf.Tensor2D];
}
