import type { Kernels } from '../../kernels.js';
import { activations } from './activations.js';
import { attention } from './attention.js';
import { decode, decodeAttention } from './decode.js';
import { divergences } from './divergences.js';
import { losses } from './losses.js';
import { mixtures } from './mixtures.js';
import { norms } from './norms.js';
import { optimizer } from './optimizer.js';
import { products } from './products.js';
import { rows } from './rows.js';
import { sample } from './sampling.js';

/** The table out of TensorFlow.js's own operations: right on every backend, and what the other engines are held against. */
export const portableKernels: Kernels = {
  ...products,
  ...activations,
  ...norms,
  ...attention,
  decodeAttention,
  decode,
  ...rows,
  ...losses,
  ...divergences,
  ...mixtures,
  sample,
  ...optimizer,
};
