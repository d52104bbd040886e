import type * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { brief, UsageError } from '../errors.js';
import type { AttentionDims, DecoderWeights } from '../tensor/ops/index.js';
import type { Params } from '../tensor/params.js';
import { type ActivationName, activationNames } from './activations.js';
import { only } from './fields.js';
import type { RopeScaling } from './rope.js';

/** The low-rank adapters of a model (LoRA, arXiv 2106.09685), and what else of it trains. */
export interface Lora {
  /** By the name of the linear map: the rank of its adapter, and what (x A) B is multiplied by. */
  maps: Readonly<Record<string, { rank: number; scale: number }>>;
  /** Names of base parameters that train as they are, in a copy of their own (`modules_to_save`). */
  saved: readonly string[];
  /** The head was tied in the base; here it trains by itself, under its own name. */
  parted?: true;
  /** adapter_config.json, for saving. */
  adapter: Record<string, unknown>;
  /** SHA-256 of the base's shape and weights, where it is known. */
  baseDigest?: string;
}

/** The shape of a model: what its functions need to know besides the parameters. */
export interface ModelConfig {
  /** Key of `families`. */
  family: string;
  vocabSize: number;
  hiddenSize: number;
  layers: number;
  heads: number;
  /** Key/value heads; fewer than `heads` when queries are grouped. */
  kvHeads: number;
  headDim: number;
  intermediateSize: number;
  /** Longest sequence, in tokens. */
  maxPositions: number;
  normEps: number;
  /** Base of the rotary frequencies; absent for learned positions. */
  ropeTheta?: number;
  ropeScaling?: RopeScaling;
  /** Biases of the query, key and value maps. */
  attentionBias: boolean;
  /** Bias of the map after attention. */
  outputBias: boolean;
  mlpBias: boolean;
  /** RMSNorm of every head's query and key (Qwen3). */
  qkNorm?: boolean;
  /** For each layer how many tokens back it looks, itself included, 0 for all; absent if all layers look at all. */
  windows?: number[];
  /** GPT-2, OPT: the function between the two maps of a feed-forward block. */
  activation?: ActivationName;
  /** GPT-2: for each layer a factor of the attention scores besides 1 / sqrt(headDim); absent if all are 1. */
  scoreScales?: number[];
  /** OPT: whether the norms have gains and biases; absent: they have. */
  plainNorms?: boolean;
  /** OPT: whether the norms stand before the parts of a block, whether one follows the last block. */
  normFirst?: boolean;
  finalNorm?: boolean;
  /** OPT: width of the word embeddings, which maps in and out lead to and from. */
  embeddingSize?: number;
  /** The head is the embedding; there is no tensor of its own. */
  tiedHead: boolean;
  /** Gradient checkpointing: the backward pass computes the inside of each block again instead of keeping it. */
  recompute?: boolean;
  /** Only this trains; the rest is the base. */
  lora?: Lora;
  /** Standard deviation of freshly drawn weights. */
  initStd: number;
  bosId?: number;
  /** The token whose embedding lookups do not train, in families whose `transformers` class says so (`padding_idx`). */
  padId?: number;
  /** Tokens that end a response; empty if the checkpoint names none. */
  eosIds: number[];
  /** config.json as read, for saving. */
  hf: Record<string, unknown>;
  /** generation_config.json as read, for saving. */
  generation?: Record<string, unknown>;
}

/** What makes a new model. Unset, a field follows the family's custom. */
export interface NewModel {
  vocabSize: number;
  hiddenSize: number;
  layers: number;
  heads: number;
  /** Families with grouped queries only; default `heads`. */
  kvHeads?: number;
  /** Rotary families only; default hiddenSize / heads. */
  headDim?: number;
  /** Rotary families only; default 10000. */
  ropeTheta?: number;
  /** Default 4 × hiddenSize for GPT-2 and OPT; for the others 8/3 of it, rounded up to a multiple of 32. */
  intermediateSize?: number;
  /** Longest sequence, in tokens. */
  maxPositions: number;
  /** Default true. */
  tiedHead?: boolean;
  bosId?: number;
  eosId?: number;
  padId?: number;
}

/** One parameter of a family: its shape in memory, how the file holds it, and how it begins. */
export interface ParameterSpec {
  /** In memory: [in, out] for a linear map, [rows, D] for an embedding. */
  shape: number[];
  /** True if the file holds the transpose (PyTorch's nn.Linear is [out, in]). */
  transposed: boolean;
  /** A number is the standard deviation of a normal distribution around 0. */
  init: number | 'ones' | 'zeros';
  /** The matrix of a linear map inside the network, which an adapter may go with. */
  map?: true;
}

/** Attention of one layer; decides what the keys and values of earlier tokens are. k is already rotated. */
export interface Attend {
  (layer: number, q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D): tf.Tensor2D;
  /** Where it is `causalAttention` of these dimensions and nothing else: a block may be one operation. */
  causal?: (layer: number) => AttentionDims;
}

/** An architecture: its config.json, its parameters and its function from tokens to hidden states. */
export interface Family {
  /** Name of the `transformers` class in config.json. */
  architecture: string;
  /** @throws UsageError naming the field if it is missing, malformed, or would change the result and is not supported */
  parseConfig(hf: Record<string, unknown>, where: string): ModelConfig;
  /** The fields of config.json that only this family has. @throws UsageError if `model` asks for what it cannot do */
  newConfig(model: NewModel): Record<string, unknown>;
  /** Every parameter by its Hugging Face name. */
  parameters(config: ModelConfig): Record<string, ParameterSpec>;
  /** Prefix that the names of a checkpoint saved without its head lack. */
  prefix: string;
  /** Name of the embedding, which is the head too when tied. */
  embedding: string;
  /** Names of tensors in old checkpoints that are no parameters. */
  buffers: RegExp;
  /**
   * Tokens to hidden states after the last norm, differentiable in the parameters.
   *
   * @param ids int32 [N] @param positions of the tokens in their sequences, [N]
   * @returns [N, D], D the width that the head reads
   */
  hidden(
    params: Params,
    config: ModelConfig,
    ids: tf.Tensor1D,
    positions: Int32Array,
    attend: Attend,
  ): tf.Tensor2D;
  /** The parameters as the decoding kernel takes them; absent, or undefined for a model that it cannot do. */
  decoder?(params: Params, config: ModelConfig): DecoderWeights | undefined;
}

/** How many tokens back a layer looks, itself included; 0 for all. */
export function windowOf(config: ModelConfig, layer: number): number {
  return config.windows?.[layer] ?? 0;
}

/** Fields that every family shares. A token id may lie beyond the vocabulary (small copies of big models): see `eosIds`. */
export const commonFields = {
  bos_token_id: z.number().int().nullish(),
  pad_token_id: z.number().int().nullish(),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  initializer_range: z.number().positive().max(100).default(0.02),
  quantization_config: only(null),
  is_causal: only(true),
  // transformers 5 reads the weights from the file of this name.
  transformers_weights: only(null),
};

/** The name of an activation, `fallback` where there is none. */
export function activation(fallback: ActivationName) {
  return z
    .unknown()
    .optional()
    .transform((found, context): ActivationName => {
      const name = activationNames.find((known) => known === (found ?? fallback));
      if (name) return name;
      context.addIssue({ code: 'custom', message: `supported: ${activationNames.join(', ')}` });
      return z.NEVER;
    });
}

/**
 * Reads config.json through a schema.
 *
 * @throws UsageError in one line: file, field, what was found, what was expected
 */
export function checkConfig<T extends z.ZodType>(
  schema: T,
  hf: Record<string, unknown>,
  where: string,
): z.output<T> {
  const result = schema.safeParse(hf);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const field = issue.path.join('.');
  const found = issue.path.reduce<unknown>(
    (value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key],
    hf,
  );
  const shown = found === undefined ? 'missing' : brief(found);
  throw new UsageError(`${where}: ${field} is ${shown}; ${issue.message.split('\n')[0]}`);
}

/** `padding_idx` of the word embedding; a negative one counts from the end, as in PyTorch. */
export function paddingToken(id: number | null | undefined, vocabSize: number): { padId?: number } {
  if (id === null || id === undefined || id >= vocabSize || id < -vocabSize) return {};
  return { padId: id < 0 ? vocabSize + id : id };
}

/** The end tokens that the vocabulary has: one beyond it can never be drawn. */
export function endTokens(value: number | number[] | null | undefined, vocabSize: number): number[] {
  const ids = value === null || value === undefined ? [] : Array.isArray(value) ? value : [value];
  return [...new Set(ids)].filter((id) => id >= 0 && id < vocabSize);
}
