import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { UsageError } from '../errors.js';
import { embedding, layerNorm } from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { activations } from './activations.js';
import { affine, affineSpec, parameter, throughBlocks } from './blocks.js';
import {
  type Attend,
  activation,
  checkConfig,
  commonFields,
  endTokens,
  type Family,
  type ModelConfig,
  type ParameterSpec,
  paddingToken,
} from './config.js';
import { size } from './fields.js';

/** Defaults are those of `transformers`' OPTConfig. */
const schema = z.looseObject({
  ...commonFields,
  pad_token_id: commonFields.pad_token_id.default(1),
  vocab_size: size().default(50272),
  hidden_size: size().default(768),
  num_hidden_layers: size(1024).default(12),
  num_attention_heads: size(65536).default(12),
  ffn_dim: size().default(3072),
  max_position_embeddings: size(1 << 30).default(2048),
  do_layer_norm_before: z.boolean().default(true),
  _remove_final_layer_norm: z.boolean().default(false),
  word_embed_proj_dim: size().nullish(),
  activation_function: activation('relu'),
  enable_bias: z.boolean().default(true),
  layer_norm_elementwise_affine: z.boolean().default(true),
  init_std: z.number().positive().max(100).default(0.02),
  tie_word_embeddings: z.boolean().default(true),
});

/** Learned positions begin at row 2 of their table. */
const OFFSET = 2;
/** torch.nn.LayerNorm's own; OPT's config.json has no field for it. */
const NORM_EPS = 1e-5;

/**
 * OPT (Zhang et al., arXiv 2205.01068), as in `transformers`' OPTForCausalLM: learned positions with an offset of 2, ReLU (GELU in
 * Galactica),
 * LayerNorm before or (opt-350m) after each part of a block, and word embeddings that may be narrower than the blocks
 * (opt-350m), with a map in and a map out. No dropout.
 */
export const opt: Family = {
  architecture: 'OPTForCausalLM',
  prefix: 'model.',
  embedding: 'model.decoder.embed_tokens.weight',
  buffers: /^$/,

  parseConfig(hf, where) {
    const c = checkConfig(schema, hf, where);
    const heads = c.num_attention_heads;
    if (c.hidden_size % heads !== 0) {
      throw new UsageError(
        `${where}: hidden_size ${c.hidden_size} is no multiple of num_attention_heads ${heads}`,
      );
    }
    return {
      family: 'opt',
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      layers: c.num_hidden_layers,
      heads,
      kvHeads: heads,
      headDim: c.hidden_size / heads,
      intermediateSize: c.ffn_dim,
      maxPositions: c.max_position_embeddings,
      normEps: NORM_EPS,
      activation: c.activation_function,
      ...(!c.layer_norm_elementwise_affine && { plainNorms: true }),
      attentionBias: c.enable_bias,
      outputBias: c.enable_bias,
      mlpBias: c.enable_bias,
      normFirst: c.do_layer_norm_before,
      finalNorm: c.do_layer_norm_before && !c._remove_final_layer_norm,
      embeddingSize: c.word_embed_proj_dim ?? c.hidden_size,
      tiedHead: c.tie_word_embeddings,
      initStd: c.init_std,
      ...(typeof c.bos_token_id === 'number' && { bosId: c.bos_token_id }),
      ...paddingToken(c.pad_token_id, c.vocab_size),
      eosIds: endTokens(c.eos_token_id, c.vocab_size),
      hf,
    };
  },

  newConfig(model) {
    if ((model.kvHeads ?? model.heads) !== model.heads || model.headDim || model.ropeTheta) {
      throw new UsageError('new opt model: no grouped heads, head size or rotary base can be chosen');
    }
    return {
      activation_function: 'relu',
      attention_dropout: 0,
      do_layer_norm_before: true,
      dropout: 0,
      enable_bias: true,
      ffn_dim: model.intermediateSize ?? 4 * model.hiddenSize,
      hidden_size: model.hiddenSize,
      init_std: 0.02,
      layer_norm_elementwise_affine: true,
      max_position_embeddings: model.maxPositions,
      num_attention_heads: model.heads,
      num_hidden_layers: model.layers,
      word_embed_proj_dim: model.hiddenSize,
    };
  },

  parameters(config) {
    const { hiddenSize: width, intermediateSize: inner, layers, vocabSize, initStd: std } = config;
    const narrow = config.embeddingSize!;
    const map = { bias: config.attentionBias, transposed: true, std };
    const normSpec = (name: string): Record<string, ParameterSpec> =>
      config.plainNorms
        ? {}
        : {
            [`${name}.weight`]: { shape: [width], transposed: false, init: 'ones' },
            [`${name}.bias`]: { shape: [width], transposed: false, init: 'zeros' },
          };
    const table = (rows: number, columns: number): ParameterSpec => ({
      shape: [rows, columns],
      transposed: false,
      init: std,
    });
    const all: Record<string, ParameterSpec> = {
      'model.decoder.embed_tokens.weight': table(vocabSize, narrow),
      'model.decoder.embed_positions.weight': table(config.maxPositions + OFFSET, width),
    };
    if (narrow !== width) {
      const plain = { ...map, bias: false };
      Object.assign(all, affineSpec('model.decoder.project_in', [narrow, width], plain));
      Object.assign(all, affineSpec('model.decoder.project_out', [width, narrow], plain));
    }
    for (let layer = 0; layer < layers; layer++) {
      const at = `model.decoder.layers.${layer}`;
      for (const name of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
        Object.assign(all, affineSpec(`${at}.self_attn.${name}`, [width, width], map));
      Object.assign(
        all,
        normSpec(`${at}.self_attn_layer_norm`),
        affineSpec(`${at}.fc1`, [width, inner], map),
        affineSpec(`${at}.fc2`, [inner, width], map),
        normSpec(`${at}.final_layer_norm`),
      );
    }
    if (config.finalNorm) Object.assign(all, normSpec('model.decoder.final_layer_norm'));
    if (!config.tiedHead) all['lm_head.weight'] = { shape: [narrow, vocabSize], transposed: true, init: std };
    return all;
  },

  hidden(params, config, ids, positions, attend) {
    const projected = config.embeddingSize !== config.hiddenSize;
    const map = (name: string, x: tf.Tensor2D): tf.Tensor2D =>
      projected ? affine(params, config, `model.decoder.${name}`, x, false) : x;
    const tokens = map('project_in', embedding(parameter(params, opt.embedding), ids, config.padId));
    const rows = tf.tensor1d(
      positions.map((position) => position + OFFSET),
      'int32',
    );
    const places = embedding(parameter(params, 'model.decoder.embed_positions.weight'), rows);
    const x = throughBlocks(
      params,
      config,
      tf.add<tf.Tensor2D>(tokens, places), // [N, D]
      (own, layer, x) => block(own, config, layer, x, attend),
      { prefix: 'model.decoder.layers.' },
    );
    const last = config.finalNorm ? norm(params, config, 'model.decoder.final_layer_norm', x) : x;
    return map('project_out', last);
  },
};

function block(
  params: Params,
  config: ModelConfig,
  layer: number,
  x: tf.Tensor2D,
  attend: Attend,
): tf.Tensor2D {
  const at = `model.decoder.layers.${layer}`;
  const { normFirst, attentionBias: bias } = config;
  const before = (name: string, y: tf.Tensor2D) => (normFirst ? norm(params, config, `${at}.${name}`, y) : y);
  const after = (name: string, y: tf.Tensor2D) => (normFirst ? y : norm(params, config, `${at}.${name}`, y));
  const h = before('self_attn_layer_norm', x);
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) =>
    affine(params, config, `${at}.self_attn.${name}`, h, bias),
  ) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  const attended = affine(params, config, `${at}.self_attn.out_proj`, attend(layer, q, k, v), bias, x);
  const y = after('self_attn_layer_norm', attended);
  const act = activations[config.activation!];
  const inner = act(affine(params, config, `${at}.fc1`, before('final_layer_norm', y), bias)); // [N, F]
  return after('final_layer_norm', affine(params, config, `${at}.fc2`, inner, bias, y));
}

function norm(params: Params, config: ModelConfig, name: string, x: tf.Tensor2D): tf.Tensor2D {
  const [gain, bias] = config.plainNorms
    ? [tf.ones<tf.Rank.R1>([config.hiddenSize]), tf.zeros<tf.Rank.R1>([config.hiddenSize])]
    : [parameter<tf.Tensor1D>(params, `${name}.weight`), parameter<tf.Tensor1D>(params, `${name}.bias`)];
  return layerNorm(x, gain, bias, NORM_EPS);
}
