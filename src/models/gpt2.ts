import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { brief, UsageError } from '../errors.js';
import {
  affineMap,
  embedding,
  type GeluBlockWeights,
  geluBlock,
  geluMlp,
  layerNorm,
} from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { activations } from './activations.js';
import { affine, affineSpec, affineWeights, parameter, throughBlocks } from './blocks.js';
import {
  type Attend,
  activation,
  checkConfig,
  commonFields,
  endTokens,
  type Family,
  type ModelConfig,
  type ParameterSpec,
} from './config.js';
import { only, size } from './fields.js';

/** Defaults are those of `transformers`' GPT2Config. `reorder_and_upcast_attn` changes precision only. */
const schema = z.looseObject({
  ...commonFields,
  vocab_size: size().default(50257),
  n_embd: size().default(768),
  n_layer: size(1024).default(12),
  n_head: size(65536).default(12),
  n_inner: size().nullish(),
  n_positions: size(1 << 30).default(1024),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  activation_function: activation('gelu_new'),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  add_cross_attention: only(false),
  tie_word_embeddings: z.boolean().default(true),
});

/**
 * GPT-2 (Radford et al. 2019): pre-norm blocks with LayerNorm, learned positions, a fused query/key/value map and
 * GELU in its tanh form (others by `activation_function`). As in `transformers`' GPT2LMHeadModel, whose Conv1D holds weights as [in, out]; dropout is
 * never applied.
 */
export const gpt2: Family = {
  architecture: 'GPT2LMHeadModel',
  prefix: 'transformer.',
  embedding: 'transformer.wte.weight',
  buffers: /\.attn\.(bias|masked_bias)$/,

  parseConfig(hf, where) {
    const c = checkConfig(schema, withoutAliases(hf, where), where);
    const headDim = c.n_embd / c.n_head;
    if (c.n_embd % c.n_head !== 0) {
      throw new UsageError(`${where}: n_embd ${c.n_embd} is no multiple of n_head ${c.n_head}`);
    }
    return {
      family: 'gpt2',
      vocabSize: c.vocab_size,
      hiddenSize: c.n_embd,
      layers: c.n_layer,
      heads: c.n_head,
      kvHeads: c.n_head,
      headDim,
      intermediateSize: c.n_inner ?? 4 * c.n_embd,
      maxPositions: c.n_positions,
      normEps: c.layer_norm_epsilon,
      activation: c.activation_function,
      ...scoreScales(c.n_layer, {
        all: c.scale_attn_weights ? 1 : Math.sqrt(headDim),
        byLayer: c.scale_attn_by_inverse_layer_idx,
      }),
      attentionBias: true,
      outputBias: true,
      mlpBias: true,
      tiedHead: c.tie_word_embeddings,
      initStd: c.initializer_range,
      ...(typeof c.bos_token_id === 'number' && { bosId: c.bos_token_id }),
      eosIds: endTokens(c.eos_token_id, c.vocab_size),
      hf,
    };
  },

  newConfig(model) {
    if ((model.kvHeads ?? model.heads) !== model.heads || model.headDim || model.ropeTheta) {
      throw new UsageError(
        'new gpt2 model: no grouped heads, head size or rotary base can be chosen; use the llama family',
      );
    }
    return {
      activation_function: 'gelu_new',
      attn_pdrop: 0,
      embd_pdrop: 0,
      resid_pdrop: 0,
      layer_norm_epsilon: 1e-5,
      n_embd: model.hiddenSize,
      n_head: model.heads,
      n_inner: model.intermediateSize ?? null,
      n_layer: model.layers,
      n_positions: model.maxPositions,
      scale_attn_weights: true,
    };
  },

  parameters(config) {
    const { hiddenSize: width, intermediateSize: inner, layers, initStd: std } = config;
    const map = { bias: true, transposed: false, std };
    // The maps that write to the residual stream begin smaller, by 1/sqrt of the number of such maps.
    const residual = { ...map, std: std / Math.sqrt(2 * layers) };
    const normSpec = (name: string): Record<string, ParameterSpec> => ({
      [`${name}.weight`]: { shape: [width], transposed: false, init: 'ones' },
      [`${name}.bias`]: { shape: [width], transposed: false, init: 'zeros' },
    });
    const all: Record<string, ParameterSpec> = {
      'transformer.wte.weight': { shape: [config.vocabSize, width], transposed: false, init: std },
      'transformer.wpe.weight': { shape: [config.maxPositions, width], transposed: false, init: std },
    };
    for (let layer = 0; layer < layers; layer++) {
      const at = `transformer.h.${layer}`;
      Object.assign(
        all,
        normSpec(`${at}.ln_1`),
        affineSpec(`${at}.attn.c_attn`, [width, 3 * width], map),
        affineSpec(`${at}.attn.c_proj`, [width, width], residual),
        normSpec(`${at}.ln_2`),
        affineSpec(`${at}.mlp.c_fc`, [width, inner], map),
        affineSpec(`${at}.mlp.c_proj`, [inner, width], residual),
      );
    }
    Object.assign(all, normSpec('transformer.ln_f'));
    if (!config.tiedHead)
      all['lm_head.weight'] = { shape: [width, config.vocabSize], transposed: true, init: std };
    return all;
  },

  hidden(params, config, ids, positions, attend) {
    const tokens = embedding(parameter(params, gpt2.embedding), ids);
    const places = embedding(parameter(params, 'transformer.wpe.weight'), tf.tensor1d(positions, 'int32'));
    const x = throughBlocks(
      params,
      config,
      tf.add<tf.Tensor2D>(tokens, places), // [N, D]
      (own, layer, x) => block(own, config, layer, x, attend),
      { prefix: 'transformer.h.' },
    );
    return norm(params, config, 'transformer.ln_f', x);
  },

  decoder(params, config) {
    if (activations[config.activation!] !== activations.gelu_new || config.scoreScales) return undefined;
    return {
      tokens: parameter(params, gpt2.embedding),
      places: parameter(params, 'transformer.wpe.weight'),
      blocks: Array.from({ length: config.layers }, (_, layer) =>
        blockWeights(params, config, `transformer.h.${layer}`),
      ),
      lastNorm: normWeights(params, 'transformer.ln_f'),
      eps: config.normEps,
      windows: new Int32Array(config.layers),
    };
  },
};

function block(
  params: Params,
  config: ModelConfig,
  layer: number,
  x: tf.Tensor2D,
  attend: Attend,
): tf.Tensor2D {
  const at = `transformer.h.${layer}`;
  const act = activations[config.activation!];
  const scale = config.scoreScales?.[layer];
  if (attend.causal && act === activations.gelu_new && scale === undefined)
    return geluBlock(x, blockWeights(params, config, at), attend.causal(layer), config.normEps);
  const fused = affine(params, config, `${at}.attn.c_attn`, norm(params, config, `${at}.ln_1`, x), true); // [N, 3D]
  const [q, k, v] = tf.split(fused, 3, 1) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  const scaled = scale === undefined ? q : tf.mul<tf.Tensor2D>(q, scale);
  const y = affine(params, config, `${at}.attn.c_proj`, attend(layer, scaled, k, v), true, x);
  const m = norm(params, config, `${at}.ln_2`, y);
  const { up, down } = blockWeights(params, config, at);
  if (act === activations.gelu_new) return geluMlp(m, { up, down }, y);
  return affineMap(act(affineMap(m, up)), down, y);
}

function blockWeights(params: Params, config: ModelConfig, at: string): GeluBlockWeights {
  const norm = (name: string) => normWeights(params, `${at}.${name}`);
  const map = (name: string) =>
    affineWeights(params, config, `${at}.${name}`, true) as GeluBlockWeights['out'];
  return {
    attentionNorm: norm('ln_1'),
    attention: [map('attn.c_attn')],
    out: map('attn.c_proj'),
    mlpNorm: norm('ln_2'),
    up: map('mlp.c_fc'),
    down: map('mlp.c_proj'),
  };
}

/** Factors of the scores besides 1 / sqrt(headDim): none of that, or a further 1 / (layer + 1). */
function scoreScales(
  layers: number,
  { all, byLayer }: { all: number; byLayer: boolean },
): Pick<ModelConfig, 'scoreScales'> {
  if (all === 1 && !byLayer) return {};
  return { scoreScales: Array.from({ length: layers }, (_, layer) => (byLayer ? all / (layer + 1) : all)) };
}

/** Other names for GPT-2's sizes, which `transformers` takes as well (`attribute_map`). */
const aliases = {
  hidden_size: 'n_embd',
  max_position_embeddings: 'n_positions',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
} as const;

function withoutAliases(hf: Record<string, unknown>, where: string): Record<string, unknown> {
  const result = { ...hf };
  for (const [alias, name] of Object.entries(aliases)) {
    if (hf[alias] === undefined) continue;
    if (hf[name] !== undefined && hf[name] !== hf[alias]) {
      throw new UsageError(
        `${where}: ${alias} is ${brief(hf[alias])} and ${name}, which means the same, is ${brief(hf[name])}`,
      );
    }
    result[name] = hf[alias];
  }
  return result;
}

const normWeights = (params: Params, name: string) => ({
  gain: parameter<tf.Tensor1D>(params, `${name}.weight`),
  bias: parameter<tf.Tensor1D>(params, `${name}.bias`),
});

function norm(params: Params, config: ModelConfig, name: string, x: tf.Tensor2D): tf.Tensor2D {
  const { gain, bias } = normWeights(params, name);
  return layerNorm(x, gain, bias, config.normEps);
}
