import { z } from 'zod';
import { brief, UsageError } from '../errors.js';
import { size } from './fields.js';

/** The fields with which Qwen2 and Qwen3 say which layers look back how far. */
export const windowFields = {
  use_sliding_window: z.boolean().default(false),
  sliding_window: size(1 << 30)
    .nullable()
    .default(4096),
  max_window_layers: z.number().int().min(0).default(28),
  layer_types: z.array(z.string()).nullish(),
};

const schema = z.object({ ...windowFields, num_hidden_layers: size(1024) });

/** For each layer how many tokens back it looks, 0 for all: those from `max_window_layers` on slide, if any does. */
export function qwenWindows(c: z.output<typeof schema>, where: string): number[] {
  const window = c.use_sliding_window ? (c.sliding_window ?? 0) : 0;
  const layers = c.num_hidden_layers;
  if (!c.layer_types)
    return Array.from({ length: layers }, (_, layer) => (layer >= c.max_window_layers ? window : 0));
  if (c.layer_types.length !== layers) {
    throw new UsageError(`${where}: layer_types has ${c.layer_types.length} entries for ${layers} layers`);
  }
  return c.layer_types.map((type, layer) => {
    if (type === 'full_attention') return 0;
    if (type === 'sliding_attention' && window > 0) return window;
    throw new UsageError(
      `${where}: layer_types[${layer}] is ${brief(type)}${type === 'sliding_attention' ? ', but use_sliding_window and sliding_window give no window' : '; only "full_attention" and "sliding_attention" are supported'}`,
    );
  });
}
