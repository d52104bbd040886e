import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import { embedding, rmsNorm, rotary, swiglu } from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { affine, affineSpec, parameter, rotaryAngles } from './blocks.js';
import {
  type Attend,
  checkConfig,
  commonFields,
  endTokens,
  type Family,
  type ModelConfig,
  only,
  type ParameterSpec,
  size,
} from './config.js';

/** Rotary settings: plain rotation only; the scaled kinds (linear, dynamic, yarn, llama3, ...) give other angles. */
const rope = z
  .looseObject({
    rope_type: only('default'),
    type: only('default'),
    rope_theta: z.number().positive().optional(),
    partial_rotary_factor: only(1),
  })
  .nullish();

/** Defaults are those of `transformers`' LlamaConfig. */
const schema = z.looseObject({
  ...commonFields,
  vocab_size: size().default(32000),
  hidden_size: size().default(4096),
  intermediate_size: size().default(11008),
  num_hidden_layers: size(1024).default(32),
  num_attention_heads: size(65536).default(32),
  num_key_value_heads: size(65536).nullish(),
  head_dim: size(65536).nullish(),
  max_position_embeddings: size(1 << 30).default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: rope,
  rope_parameters: rope, // where transformers 5 keeps theta
  partial_rotary_factor: only(1),
  hidden_act: only('silu'),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
});

/**
 * LLaMA (Touvron et al., arXiv 2302.13971): pre-norm blocks with RMSNorm, rotary positions, SwiGLU and grouped
 * queries. As in `transformers`' LlamaForCausalLM; dropout is never applied.
 */
export const llama: Family = {
  architecture: 'LlamaForCausalLM',
  prefix: 'model.',
  embedding: 'model.embed_tokens.weight',
  buffers: /rotary_emb\.inv_freq$/,

  parseConfig(hf, where) {
    const c = checkConfig(schema, hf, where);
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
    return {
      family: 'llama',
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      layers: c.num_hidden_layers,
      heads,
      kvHeads,
      headDim,
      intermediateSize: c.intermediate_size,
      maxPositions: c.max_position_embeddings,
      normEps: c.rms_norm_eps,
      ropeTheta: c.rope_parameters?.rope_theta ?? c.rope_theta ?? c.rope_scaling?.rope_theta ?? 10000,
      attentionBias: c.attention_bias,
      mlpBias: c.mlp_bias,
      tiedHead: c.tie_word_embeddings,
      initStd: c.initializer_range,
      ...(typeof c.bos_token_id === 'number' && { bosId: c.bos_token_id }),
      eosIds: endTokens(c.eos_token_id, c.vocab_size),
      hf,
    };
  },

  newConfig(model) {
    const { hiddenSize, heads } = model;
    return {
      attention_bias: false,
      attention_dropout: 0,
      head_dim: model.headDim ?? hiddenSize / heads,
      hidden_act: 'silu',
      hidden_size: hiddenSize,
      intermediate_size: model.intermediateSize ?? Math.ceil((hiddenSize * 8) / 3 / 32) * 32,
      max_position_embeddings: model.maxPositions,
      mlp_bias: false,
      num_attention_heads: heads,
      num_hidden_layers: model.layers,
      num_key_value_heads: model.kvHeads ?? heads,
      pretraining_tp: 1,
      rms_norm_eps: 1e-6,
      rope_scaling: null,
      rope_theta: model.ropeTheta ?? 10000,
    };
  },

  parameters(config) {
    const { hiddenSize: width, heads, kvHeads, headDim, intermediateSize: inner, initStd: std } = config;
    const norm: ParameterSpec = { shape: [width], transposed: false, init: 'ones' };
    const attention = { bias: config.attentionBias, transposed: true, std };
    const mlp = { bias: config.mlpBias, transposed: true, std };
    const all: Record<string, ParameterSpec> = {
      'model.embed_tokens.weight': { shape: [config.vocabSize, width], transposed: false, init: std },
    };
    for (let layer = 0; layer < config.layers; layer++) {
      const at = `model.layers.${layer}`;
      Object.assign(
        all,
        { [`${at}.input_layernorm.weight`]: norm, [`${at}.post_attention_layernorm.weight`]: norm },
        affineSpec(`${at}.self_attn.q_proj`, [width, heads * headDim], attention),
        affineSpec(`${at}.self_attn.k_proj`, [width, kvHeads * headDim], attention),
        affineSpec(`${at}.self_attn.v_proj`, [width, kvHeads * headDim], attention),
        affineSpec(`${at}.self_attn.o_proj`, [heads * headDim, width], attention),
        affineSpec(`${at}.mlp.gate_proj`, [width, inner], mlp),
        affineSpec(`${at}.mlp.up_proj`, [width, inner], mlp),
        affineSpec(`${at}.mlp.down_proj`, [inner, width], mlp),
      );
    }
    all['model.norm.weight'] = norm;
    if (!config.tiedHead)
      all['lm_head.weight'] = { shape: [width, config.vocabSize], transposed: true, init: std };
    return all;
  },

  hidden(params, config, ids, positions, attend) {
    const angles = rotaryAngles(positions, config.headDim, config.ropeTheta!);
    let x = embedding(parameter(params, llama.embedding), ids); // [N, D]
    for (let layer = 0; layer < config.layers; layer++) {
      // Outside differentiation each layer's temporaries are freed at once; under it the tape keeps what it saved.
      x = tf.tidy(() => block(params, config, layer, x, angles, attend));
    }
    return rmsNorm(x, parameter(params, 'model.norm.weight'), config.normEps);
  },
};

function block(
  params: Params,
  config: ModelConfig,
  layer: number,
  x: tf.Tensor2D,
  [cos, sin]: [tf.Tensor2D, tf.Tensor2D],
  attend: Attend,
): tf.Tensor2D {
  const { attentionBias, mlpBias, normEps } = config;
  const at = `model.layers.${layer}`;
  const h = rmsNorm(x, parameter(params, `${at}.input_layernorm.weight`), normEps);
  const q = affine(params, `${at}.self_attn.q_proj`, h, attentionBias); // [N, H·Dh]
  const k = affine(params, `${at}.self_attn.k_proj`, h, attentionBias); // [N, Hkv·Dh]
  const v = affine(params, `${at}.self_attn.v_proj`, h, attentionBias);
  const a = attend(layer, rotary(q, cos, sin, config.heads), rotary(k, cos, sin, config.kvHeads), v);
  const y = tf.add<tf.Tensor2D>(x, affine(params, `${at}.self_attn.o_proj`, a, attentionBias));
  const m = rmsNorm(y, parameter(params, `${at}.post_attention_layernorm.weight`), normEps);
  const gate = affine(params, `${at}.mlp.gate_proj`, m, mlpBias); // [N, F]
  const up = affine(params, `${at}.mlp.up_proj`, m, mlpBias);
  return tf.add(y, affine(params, `${at}.mlp.down_proj`, swiglu(gate, up), mlpBias));
}
