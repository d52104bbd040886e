import { z } from 'zod';
import { checkConfig, type Family } from './config.js';
import { size } from './fields.js';
import { qwenWindows, windowFields } from './qwenWindows.js';
import { newRotaryConfig, rotaryConfig, rotaryDecoder, rotaryFields } from './rotaryDecoder.js';

/** Defaults are those of `transformers`' Qwen3Config. */
const schema = z.looseObject({
  ...rotaryFields,
  ...windowFields,
  vocab_size: size().default(151936),
  intermediate_size: size().default(22016),
  num_key_value_heads: size(65536).nullable().default(32),
  head_dim: size(65536).default(128),
  max_position_embeddings: size(1 << 30).default(32768),
  attention_bias: z.boolean().default(false),
});

/** Qwen3 (arXiv 2505.09388), dense: queries and keys are normed head by head before the rotation. As in Qwen3ForCausalLM. */
export const qwen3: Family = {
  ...rotaryDecoder,
  architecture: 'Qwen3ForCausalLM',
  parseConfig(hf, where) {
    const c = checkConfig(schema, hf, where);
    const bias = c.attention_bias;
    const windows = qwenWindows(c, where);
    const traits = { attentionBias: bias, outputBias: bias, mlpBias: false, qkNorm: true, windows };
    return rotaryConfig('qwen3', c, traits, hf, where);
  },
  newConfig: (model) => ({ ...newRotaryConfig(model), attention_bias: false, use_sliding_window: false }),
};
