import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import {
  embedding,
  rmsNorm,
  rotary,
  type SwigluBlockWeights,
  swiglu,
  swigluBlock,
} from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { affine, affineSpec, affineWeights, parameter, throughBlocks } from './blocks.js';
import {
  type Attend,
  commonFields,
  endTokens,
  type Family,
  type ModelConfig,
  type NewModel,
  type ParameterSpec,
  paddingToken,
  windowOf,
} from './config.js';
import { only, size } from './fields.js';
import { readRope, ropeFields, rotaryAngles } from './rope.js';

/**
 * What the descendants of LLaMA (Touvron et al., arXiv 2302.13971) share: pre-norm blocks with RMSNorm, rotary
 * positions, SwiGLU and grouped queries. They differ in biases, in norms of queries and keys, in how far a layer looks
 * back, and in the defaults of config.json.
 */

/** Fields of config.json that all of them have. Defaults are given by the families, as in their `transformers` classes. */
export const rotaryFields = {
  ...commonFields,
  ...ropeFields,
  num_attention_heads: size(65536).default(32),
  num_hidden_layers: size(1024).default(32),
  num_key_value_heads: size(65536).nullish(),
  head_dim: size(65536).nullish(),
  hidden_size: size().default(4096),
  rms_norm_eps: z.number().positive().default(1e-6),
  hidden_act: only('silu'),
  tie_word_embeddings: z.boolean().default(false),
};

const rotarySchema = z.object({
  ...rotaryFields,
  vocab_size: size(),
  intermediate_size: size(),
  max_position_embeddings: size(1 << 30),
});

/** How one family differs from another. */
export interface Traits {
  /** Biases of the query, key and value maps. */
  attentionBias: boolean;
  /** Bias of the map after attention. */
  outputBias: boolean;
  mlpBias: boolean;
  /** RMSNorm of every head's query and key before the rotation (Qwen3). */
  qkNorm?: boolean;
  /** For each layer how many tokens back it looks, itself included; 0 for all. */
  windows?: number[];
}

/** The configuration of a model from the fields it shares with the others and its traits. */
export function rotaryConfig(
  family: string,
  c: z.output<typeof rotarySchema>,
  traits: Traits,
  hf: Record<string, unknown>,
  where: string,
): ModelConfig {
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? heads;
  const headDim = c.head_dim ?? c.hidden_size / heads;
  if (!Number.isInteger(headDim)) {
    throw new UsageError(
      `${where}: hidden_size ${c.hidden_size} is no multiple of num_attention_heads ${heads}, and head_dim is not given`,
    );
  }
  if (headDim % 2 !== 0)
    throw new UsageError(`${where}: head_dim is ${headDim}; rotary positions need an even one`);
  if (heads % kvHeads !== 0) {
    throw new UsageError(
      `${where}: num_attention_heads ${heads} is no multiple of num_key_value_heads ${kvHeads}`,
    );
  }
  const { theta, scaling } = readRope(c, where);
  const { windows, qkNorm, ...biases } = traits;
  return {
    family,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    layers: c.num_hidden_layers,
    heads,
    kvHeads,
    headDim,
    intermediateSize: c.intermediate_size,
    maxPositions: c.max_position_embeddings,
    normEps: c.rms_norm_eps,
    ropeTheta: theta,
    ...(scaling && { ropeScaling: scaling }),
    ...biases,
    ...(qkNorm && { qkNorm }),
    ...(windows?.some((window) => window > 0) && { windows }),
    tiedHead: c.tie_word_embeddings,
    initStd: c.initializer_range,
    ...(typeof c.bos_token_id === 'number' && { bosId: c.bos_token_id }),
    ...paddingToken(c.pad_token_id, c.vocab_size),
    eosIds: endTokens(c.eos_token_id, c.vocab_size),
    hf,
  };
}

/** Everything of a family but its reading of config.json. */
export const rotaryDecoder = {
  prefix: 'model.',
  embedding: 'model.embed_tokens.weight',
  buffers: /rotary_emb\.inv_freq$/,

  parameters(config) {
    const { hiddenSize: width, heads, kvHeads, headDim, intermediateSize: inner, initStd: std } = config;
    const norm = (size: number): ParameterSpec => ({ shape: [size], transposed: false, init: 'ones' });
    const input = { bias: config.attentionBias, transposed: true, std };
    const output = { bias: config.outputBias, transposed: true, std };
    const mlp = { bias: config.mlpBias, transposed: true, std };
    const all: Record<string, ParameterSpec> = {
      'model.embed_tokens.weight': { shape: [config.vocabSize, width], transposed: false, init: std },
    };
    for (let layer = 0; layer < config.layers; layer++) {
      const at = `model.layers.${layer}`;
      Object.assign(
        all,
        { [`${at}.input_layernorm.weight`]: norm(width) },
        { [`${at}.post_attention_layernorm.weight`]: norm(width) },
        affineSpec(`${at}.self_attn.q_proj`, [width, heads * headDim], input),
        affineSpec(`${at}.self_attn.k_proj`, [width, kvHeads * headDim], input),
        affineSpec(`${at}.self_attn.v_proj`, [width, kvHeads * headDim], input),
        affineSpec(`${at}.self_attn.o_proj`, [heads * headDim, width], output),
        config.qkNorm && {
          [`${at}.self_attn.q_norm.weight`]: norm(headDim),
          [`${at}.self_attn.k_norm.weight`]: norm(headDim),
        },
        affineSpec(`${at}.mlp.gate_proj`, [width, inner], mlp),
        affineSpec(`${at}.mlp.up_proj`, [width, inner], mlp),
        affineSpec(`${at}.mlp.down_proj`, [inner, width], mlp),
      );
    }
    all['model.norm.weight'] = norm(width);
    if (!config.tiedHead)
      all['lm_head.weight'] = { shape: [width, config.vocabSize], transposed: true, init: std };
    return all;
  },

  hidden(params, config, ids, positions, attend) {
    const x = throughBlocks(
      params,
      config,
      embedding(parameter(params, 'model.embed_tokens.weight'), ids, config.padId), // [N, D]
      (own, layer, x, angles) => block(own, config, layer, x, angles as [tf.Tensor2D, tf.Tensor2D], attend),
      { prefix: 'model.layers.', constants: anglesOf(config, positions) },
    );
    return rmsNorm(x, parameter(params, 'model.norm.weight'), config.normEps);
  },

  decoder(params, config) {
    const { layers } = config;
    return {
      tokens: parameter(params, 'model.embed_tokens.weight'),
      blocks: Array.from({ length: layers }, (_, layer) =>
        blockWeights(params, config, `model.layers.${layer}`),
      ),
      lastNorm: { gain: parameter(params, 'model.norm.weight') },
      eps: config.normEps,
      windows: Int32Array.from({ length: layers }, (_, layer) => windowOf(config, layer)),
      angles: (positions) => anglesOf(config, positions),
    };
  },
} satisfies Omit<Family, 'architecture' | 'parseConfig' | 'newConfig'>;

/** What a new config.json of these families shares. */
export function newRotaryConfig(model: NewModel): Record<string, unknown> {
  const { hiddenSize, heads } = model;
  return {
    attention_dropout: 0,
    head_dim: model.headDim ?? hiddenSize / heads,
    hidden_act: 'silu',
    hidden_size: hiddenSize,
    intermediate_size: model.intermediateSize ?? Math.ceil((hiddenSize * 8) / 3 / 32) * 32,
    max_position_embeddings: model.maxPositions,
    num_attention_heads: heads,
    num_hidden_layers: model.layers,
    num_key_value_heads: model.kvHeads ?? heads,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    rope_theta: model.ropeTheta ?? 10000,
  };
}

function anglesOf(config: ModelConfig, positions: Int32Array): [tf.Tensor2D, tf.Tensor2D] {
  const { headDim, ropeTheta, ropeScaling } = config;
  return rotaryAngles(positions, headDim, {
    theta: ropeTheta!,
    ...(ropeScaling && { scaling: ropeScaling }),
  });
}

function block(
  params: Params,
  config: ModelConfig,
  layer: number,
  x: tf.Tensor2D,
  [cos, sin]: [tf.Tensor2D, tf.Tensor2D],
  attend: Attend,
): tf.Tensor2D {
  const { attentionBias, outputBias, mlpBias, normEps, heads, kvHeads } = config;
  const at = `model.layers.${layer}`;
  if (attend.causal && !config.qkNorm)
    return swigluBlock(x, blockWeights(params, config, at), [cos, sin], attend.causal(layer), normEps);
  const h = rmsNorm(x, parameter(params, `${at}.input_layernorm.weight`), normEps);
  const turned = (name: 'q' | 'k', count: number): tf.Tensor2D => {
    const map = affine(params, config, `${at}.self_attn.${name}_proj`, h, attentionBias); // [N, count·Dh]
    const gain = `${at}.self_attn.${name}_norm.weight`;
    return rotary(config.qkNorm ? normOfHeads(map, parameter(params, gain), normEps) : map, cos, sin, count);
  };
  const v = affine(params, config, `${at}.self_attn.v_proj`, h, attentionBias);
  const a = attend(layer, turned('q', heads), turned('k', kvHeads), v);
  const y = affine(params, config, `${at}.self_attn.o_proj`, a, outputBias, x);
  const m = rmsNorm(y, parameter(params, `${at}.post_attention_layernorm.weight`), normEps);
  const gate = affine(params, config, `${at}.mlp.gate_proj`, m, mlpBias); // [N, F]
  const up = affine(params, config, `${at}.mlp.up_proj`, m, mlpBias);
  return affine(params, config, `${at}.mlp.down_proj`, swiglu(gate, up), mlpBias, y);
}

function blockWeights(params: Params, config: ModelConfig, at: string): SwigluBlockWeights {
  const { attentionBias, outputBias, mlpBias, qkNorm } = config;
  const gain = (name: string): tf.Tensor1D => parameter(params, `${at}.${name}.weight`);
  const map = (name: string, bias: boolean) => affineWeights(params, config, `${at}.${name}`, bias);
  return {
    attentionNorm: { gain: gain('input_layernorm') },
    attention: [
      map('self_attn.q_proj', attentionBias),
      map('self_attn.k_proj', attentionBias),
      map('self_attn.v_proj', attentionBias),
    ],
    ...(qkNorm && { headNorms: [gain('self_attn.q_norm'), gain('self_attn.k_norm')] }),
    out: map('self_attn.o_proj', outputBias),
    mlpNorm: { gain: gain('post_attention_layernorm') },
    up: map('mlp.up_proj', mlpBias),
    gate: map('mlp.gate_proj', mlpBias),
    down: map('mlp.down_proj', mlpBias),
  };
}

/** RMSNorm of each head by itself. @param x [N, H·Dh] @param gain [Dh] */
function normOfHeads(x: tf.Tensor2D, gain: tf.Tensor1D, eps: number): tf.Tensor2D {
  const byHead = tf.reshape(x, [-1, gain.shape[0]]) as tf.Tensor2D;
  return tf.reshape(rmsNorm(byHead, gain, eps), x.shape);
}
