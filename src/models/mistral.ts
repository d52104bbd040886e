import { z } from 'zod';
import { checkConfig, type Family } from './config.js';
import { only, size } from './fields.js';
import { newRotaryConfig, rotaryConfig, rotaryDecoder, rotaryFields } from './rotaryDecoder.js';

/** Defaults are those of `transformers`' MistralConfig. */
const schema = z.looseObject({
  ...rotaryFields,
  vocab_size: size().default(32000),
  intermediate_size: size().default(14336),
  num_key_value_heads: size(65536).nullable().default(8),
  max_position_embeddings: size(1 << 30).default(4096 * 32),
  sliding_window: size(1 << 30)
    .nullable()
    .default(4096),
  // `transformers` warns of this field and ignores it; which layers slide is then not what the file says.
  layer_types: only(null),
});

/** Mistral (Jiang et al., arXiv 2310.06825): every layer looks back `sliding_window` tokens. As in MistralForCausalLM. */
export const mistral: Family = {
  ...rotaryDecoder,
  architecture: 'MistralForCausalLM',
  parseConfig(hf, where) {
    const c = checkConfig(schema, hf, where);
    const windows = new Array<number>(c.num_hidden_layers).fill(c.sliding_window ?? 0);
    return rotaryConfig(
      'mistral',
      c,
      { attentionBias: false, outputBias: false, mlpBias: false, windows },
      hf,
      where,
    );
  },
  newConfig: (model) => ({ ...newRotaryConfig(model), sliding_window: null }),
};
