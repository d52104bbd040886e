import { brief, UsageError } from '../errors.js';
import type { Family, ModelConfig, NewModel } from './config.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { opt } from './opt.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

/** The architectures, by `model_type` of config.json. */
export const families = { llama, gpt2, opt, qwen2, qwen3, mistral } satisfies Record<string, Family>;

export type FamilyName = keyof typeof families;
export const familyNames = Object.keys(families) as FamilyName[];

export function familyOf(config: ModelConfig): Family {
  return family(config.family, 'this model');
}

/**
 * Reads config.json's content.
 *
 * @param where the file, for error lines
 * @throws UsageError naming an architecture or a field that is missing, malformed or not supported
 */
export function parseConfig(hf: Record<string, unknown>, where: string): ModelConfig {
  const chosen = family(hf.model_type, where);
  // A class other than the causal language model shares the model_type but ends in another head.
  const classes = hf.architectures;
  if (Array.isArray(classes) && classes.length > 0 && !classes.includes(chosen.architecture)) {
    throw new UsageError(
      `${where}: architectures is ${brief(classes)}; only ${chosen.architecture} is supported`,
    );
  }
  return chosen.parseConfig(hf, where);
}

function family(name: unknown, where: string): Family {
  if (typeof name === 'string' && Object.hasOwn(families, name)) return families[name as FamilyName];
  const found = name === undefined ? 'missing' : brief(name);
  throw new UsageError(`${where}: model_type is ${found}; supported: ${familyNames.join(', ')}`);
}

/**
 * The configuration of a new model, with the config.json that `transformers` reads.
 *
 * @throws UsageError naming the field that does not fit
 */
export function newModelConfig(name: FamilyName, model: NewModel): ModelConfig {
  const { architecture, newConfig } = families[name];
  const hf = {
    architectures: [architecture],
    bos_token_id: model.bosId ?? null,
    eos_token_id: model.eosId ?? null,
    pad_token_id: model.padId ?? null,
    initializer_range: 0.02,
    model_type: name,
    tie_word_embeddings: model.tiedHead ?? true,
    use_cache: true,
    vocab_size: model.vocabSize,
    ...newConfig(model),
  };
  return parseConfig(hf, `new ${name} model`);
}

export function llamaConfig(model: NewModel): ModelConfig {
  return newModelConfig('llama', model);
}

export function gpt2Config(model: NewModel): ModelConfig {
  return newModelConfig('gpt2', model);
}
