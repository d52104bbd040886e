import * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../tensor/kernels.js';
import type { Params } from '../tensor/params.js';
import { type GradientTransformation, mapParams } from './transform.js';

/** sqrt(Σ g²) over all tensors together, read back as a number. */
export function globalNorm(grads: Params): number {
  const all = Object.values(grads);
  if (all.length === 0) return 0;
  const total = kernels().squaredNorm(all);
  const norm = Math.sqrt(total.dataSync()[0]!);
  total.dispose();
  return norm;
}

export type ClipState = {
  /** The norm before clipping at the last update; 0 before the first. */
  norm: number;
};

/**
 * Scales all updates by min(1, max / (norm + 1e-6)), norm = sqrt(Σ g²) over all tensors (Pascanu et al.,
 * arXiv 1211.5063, algorithm 1; the 1e-6 is that of torch.nn.utils.clip_grad_norm_). The state holds the norm before clipping.
 */
export function clipByGlobalNorm(max: number): GradientTransformation<ClipState> {
  return {
    init: () => ({ norm: 0 }),
    update(updates) {
      const norm = globalNorm(updates);
      const scale = clipScale(norm, max);
      return [scale < 1 ? mapParams(updates, (g) => tf.mul(g, scale)) : updates, { norm }];
    },
  };
}

/** What a gradient of this norm is multiplied by: min(1, max / (norm + 1e-6)). */
export function clipScale(norm: number, max: number): number {
  const scale = max / (norm + 1e-6);
  return scale < 1 ? scale : 1;
}
