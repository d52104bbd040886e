import { z } from 'zod';
import { checkConfig, type Family } from './config.js';
import { size } from './fields.js';
import { newRotaryConfig, rotaryConfig, rotaryDecoder, rotaryFields } from './rotaryDecoder.js';

/** Defaults are those of `transformers`' LlamaConfig. */
const schema = z.looseObject({
  ...rotaryFields,
  vocab_size: size().default(32000),
  intermediate_size: size().default(11008),
  max_position_embeddings: size(1 << 30).default(2048),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

/** LLaMA 1, 2 and 3 (arXiv 2302.13971, 2307.09288, 2407.21783), as in `transformers`' LlamaForCausalLM; no dropout. */
export const llama: Family = {
  ...rotaryDecoder,
  architecture: 'LlamaForCausalLM',
  parseConfig(hf, where) {
    const c = checkConfig(schema, hf, where);
    const traits = { attentionBias: c.attention_bias, outputBias: c.attention_bias, mlpBias: c.mlp_bias };
    return rotaryConfig('llama', c, traits, hf, where);
  },
  newConfig: (model) => ({
    ...newRotaryConfig(model),
    attention_bias: false,
    mlp_bias: false,
    pretraining_tp: 1,
  }),
};
