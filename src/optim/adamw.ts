import type * as tf from '@tensorflow/tfjs-core';
import { kernels } from '../tensor/kernels.js';
import type { Params } from '../tensor/params.js';
import { type AdamState, biasCorrection, scaleByAdam } from './adam.js';
import { type ClipState, clipByGlobalNorm, clipScale, globalNorm } from './clip.js';
import {
  addDecayedWeights,
  type DecayMask,
  decayMatricesOnly,
  type LearningRateState,
  scaleByLearningRate,
} from './links.js';
import type { Schedule } from './schedules.js';
import { assertSameNames, chain, type GradientTransformation } from './transform.js';

export interface AdamWOptions {
  learningRate: Schedule | number;
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.95, as in MiniLLM (PyTorch's default is 0.999). */
  beta2?: number;
  /** Default 1e-8. */
  eps?: number;
  /** Default 0. */
  weightDecay?: number;
  /** Which parameters decay; default: matrices only. */
  mask?: DecayMask;
  /** Largest global norm of the gradient; default: no clipping. */
  clip?: number;
}

export type OptimizerState = {
  clip: ClipState;
  adam: AdamState;
  decay: Record<string, never>;
  rate: LearningRateState;
};

export interface Optimizer extends GradientTransformation<OptimizerState> {
  /** The global norm of gradients, before clipping. */
  globalNorm(grads: Params): number;
  /**
   * As `applyStep`: consumes the tensors of `params` and `state` and returns the new ones, with the gradient's norm
   * before clipping and the learning rate used. `grads` stays the caller's.
   *
   * @param gradNorm the global norm of `grads` where the caller knows it already, else it is computed here
   * @throws UsageError if a gradient is missing; then nothing has been consumed
   */
  step(
    grads: Params,
    state: OptimizerState,
    params: Params,
    gradNorm?: number,
  ): { params: Params; state: OptimizerState; gradNorm: number; learningRate: number };
}

/**
 * AdamW with global-norm clipping: the chain clip, Adam, decoupled decay, learning rate. The same numbers as
 * torch.nn.utils.clip_grad_norm_ followed by torch.optim.AdamW: p ← p − lr (m̂/(sqrt(v̂) + eps) + weightDecay · p).
 * `init` and `update` are the chain's; `step` is the engine's kernel with the same rule, the chain its reference.
 */
export function adamw(options: AdamWOptions): Optimizer {
  const {
    learningRate,
    beta1 = 0.9,
    beta2 = 0.95,
    eps = 1e-8,
    weightDecay = 0,
    mask = decayMatricesOnly,
    clip = Infinity,
  } = options;
  const schedule = typeof learningRate === 'number' ? () => learningRate : learningRate;
  const links = chain({
    clip: clipByGlobalNorm(clip),
    adam: scaleByAdam({ beta1, beta2, eps }),
    decay: addDecayedWeights(weightDecay, mask),
    rate: scaleByLearningRate(schedule),
  });
  return {
    ...links,
    globalNorm,
    step(grads, state, params, gradNorm) {
      assertSameNames(grads, params);
      const norm = gradNorm ?? globalNorm(grads);
      const rate = schedule(state.rate.count);
      const count = state.adam.count + 1;
      const { scale, root } = biasCorrection(beta1, beta2, count);
      const names = Object.keys(params);
      const list = (of: Params) => names.map((name) => of[name]!);
      const next = kernels().adamW(
        { params: list(params), first: list(state.adam.first), second: list(state.adam.second) },
        list(grads),
        {
          decay: names.map((name) => (mask(name, params[name]!) ? rate * weightDecay : 0)),
          gradScale: clipScale(norm, clip),
          stepSize: rate * scale,
          beta1,
          beta2,
          epsilon: eps * root,
        },
      );
      const named = (tensors: tf.Tensor[]): Params =>
        Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
      return {
        params: named(next.params),
        state: {
          clip: { norm },
          adam: { count, first: named(next.first), second: named(next.second) },
          decay: {},
          rate: { count: state.rate.count + 1, rate },
        },
        gradNorm: norm,
        learningRate: rate,
      };
    },
  };
}
