import { z } from 'zod';
import { checkConfig, type Family } from './config.js';
import { size } from './fields.js';
import { qwenWindows, windowFields } from './qwenWindows.js';
import { newRotaryConfig, rotaryConfig, rotaryDecoder, rotaryFields } from './rotaryDecoder.js';

/** Defaults are those of `transformers`' Qwen2Config. */
const schema = z.looseObject({
  ...rotaryFields,
  ...windowFields,
  vocab_size: size().default(151936),
  intermediate_size: size().default(22016),
  num_key_value_heads: size(65536).nullable().default(32),
  max_position_embeddings: size(1 << 30).default(32768),
});

/** Qwen2 and Qwen2.5 (arXiv 2407.10671): biases on queries, keys and values only. As in Qwen2ForCausalLM. */
export const qwen2: Family = {
  ...rotaryDecoder,
  architecture: 'Qwen2ForCausalLM',
  parseConfig(hf, where) {
    const c = checkConfig(schema, hf, where);
    const traits = { attentionBias: true, outputBias: false, mlpBias: false, windows: qwenWindows(c, where) };
    // transformers' Qwen2 has no head_dim of its own but reads the field where a file has it.
    return rotaryConfig('qwen2', c, traits, hf, where);
  },
  newConfig: (model) => ({ ...newRotaryConfig(model), use_sliding_window: false }),
};
