import * as tf from '@tensorflow/tfjs-core';
import { stream } from '../random/streams.js';
import { freeze } from '../tensor/frozen.js';
import { fromPacked, halfOf } from '../tensor/halves.js';
import type { Params } from '../tensor/params.js';
import { newAdapter } from './adapterConfig.js';
import type { Lora, ModelConfig, ParameterSpec } from './config.js';
import { familyOf } from './families.js';
import { type BaseSource, type LoraOptions, moduleOf } from './loraTargets.js';
import type { Model } from './model.js';

/** All weights of a model: of the base where there is one, and in place of them what trains. */
export function weightsOf({ base, params }: Model, trained: Params = params): Params {
  return base ? { ...base, ...trained } : trained;
}

/** The parameters that train, as they lie in memory: A [in, r] and B [r, out] of every adapter, and what is saved whole. */
export function trainedParameters(config: ModelConfig): Record<string, ParameterSpec> {
  const all = familyOf(config).parameters(config);
  const { lora } = config;
  if (!lora) return all;
  const own: Record<string, ParameterSpec> = {};
  for (const [name, { rank }] of Object.entries(lora.maps)) {
    const [from, to] = all[`${name}.weight`]!.shape as [number, number];
    own[`${name}.lora_A.weight`] = { shape: [from, rank], transposed: true, init: 0 };
    own[`${name}.lora_B.weight`] = { shape: [rank, to], transposed: true, init: 'zeros' };
  }
  for (const name of lora.saved) own[name] = all[name]!;
  return own;
}

/** The configuration of the model that adapters stand on. */
export function baseConfig({ lora, ...config }: ModelConfig): ModelConfig {
  return { ...config, tiedHead: lora?.parted ? true : config.tiedHead };
}

/** The model with its adapters off. Its parameters are the base's tensors themselves: nothing is copied. */
export function withoutAdapter({ config, base }: Model): Model {
  return { config: baseConfig(config), params: base! };
}

/**
 * A model with new adapters: A uniform in ±1/sqrt(in), as PEFT begins it (Kaiming's with a = sqrt 5), B zero, so that it is the
 * model without them; saved modules begin as copies. Takes over the tensors of `model` and freezes them.
 *
 * Each A has its own stream, addressed by its name.
 *
 * @throws UsageError if a target is no linear map of the model
 */
export function addLora(model: Model, options: LoraOptions, source: BaseSource, seed: number): Model {
  const config = withLora(model.config, options, source);
  const params: Params = {};
  for (const [name, { shape, init }] of Object.entries(trainedParameters(config))) {
    if (config.lora!.saved.includes(name)) params[name] = copied(model, name);
    else if (init === 'zeros') params[name] = tf.zeros(shape);
    else {
      const [from, rank] = shape as [number, number];
      const rng = stream(seed, 'lora', name);
      const bound = 1 / Math.sqrt(from);
      params[name] = tf.tensor(
        Float32Array.from({ length: from * rank }, () => bound * (2 * rng() - 1)),
        shape,
      );
    }
  }
  return { ...model, config, params, base: frozen(model.params) };
}

/** A tensor of its own with the values of the base; those of a head that is parted from the embedding are the embedding's. */
function copied({ params, config }: Model, name: string): tf.Tensor {
  const own = params[name];
  if (own) return floatsOf(own);
  return tf.tidy(() => tf.transpose(floatsOf(params[familyOf(config).embedding]!)));
}

/** A float32 copy. */
function floatsOf(x: tf.Tensor): tf.Tensor {
  const half = halfOf(x);
  return half ? fromPacked(x.dataSync<'int32'>(), half) : tf.mul(x, 1);
}

/** Marks all tensors as ones that do not train. */
export function frozen(params: Params): Params {
  for (const tensor of Object.values(params)) freeze(tensor);
  return params;
}

/** The configuration of a model with new adapters. @throws UsageError as `addLora` */
export function withLora(base: ModelConfig, options: LoraOptions, source: BaseSource): ModelConfig {
  return withAdapters(base, newAdapter(base, options, source));
}

export function withAdapters(base: ModelConfig, lora: Lora): ModelConfig {
  return { ...base, lora, tiedHead: lora.parted ? false : base.tiedHead };
}

/** The plain model that a model with adapters is: W + s A B in place of W. Consumes the model, whose tensors it takes over. */
export function mergeAdapter(model: Model): Model {
  const { lora } = model.config;
  if (!lora) return model;
  const params: Params = {};
  const all = weightsOf(model);
  for (const name of Object.keys(familyOf(model.config).parameters(model.config))) {
    const map = lora.maps[moduleOf(name)];
    params[name] =
      map && name.endsWith('.weight') ? merged(all[name]!, [all, moduleOf(name)], map.scale) : all[name]!;
  }
  const taken = new Set(Object.values(params));
  tf.dispose([model.base!, model.params].flatMap((own) => Object.values(own).filter((x) => !taken.has(x))));
  const { lora: _, ...config } = model.config;
  const hf = lora.parted ? { ...config.hf, tie_word_embeddings: false } : config.hf;
  return { config: { ...config, hf }, params };
}

function merged(weight: tf.Tensor, [all, map]: [Params, string], scale: number): tf.Tensor {
  return tf.tidy(() => {
    const product = tf.matMul(all[`${map}.lora_A.weight`]!, all[`${map}.lora_B.weight`]!);
    return tf.add(floatsOf(weight), tf.mul(product, scale));
  });
}
