import { fusedKernels, native } from '../tensor/backend.js';
import type { Params } from '../tensor/params.js';
import { type AdamState, biasCorrection, scaleByAdam } from './adam.js';
import { type ClipState, clipByGlobalNorm, clipScale, globalNorm } from './clip.js';
import { type FusedNumbers, fusedAdamW } from './fused.js';
import { inPlaceAdamW } from './inPlace.js';
import {
  addDecayedWeights,
  type DecayMask,
  decayMatricesOnly,
  type LearningRateState,
  scaleByLearningRate,
} from './links.js';
import type { Schedule } from './schedules.js';
import { applyStep, assertSameNames, chain, type GradientTransformation } from './transform.js';

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
 * `init` and `update` are the chain's; `step` runs it, or on the native backend the fused kernel with the same rule.
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
  const fusedStep = (grads: Params, state: OptimizerState, params: Params, norm: number) => {
    assertSameNames(grads, params);
    const rate = schedule(state.rate.count);
    const count = state.adam.count + 1;
    const { scale, root } = biasCorrection(beta1, beta2, count);
    const numbers: FusedNumbers = {
      decay: (name, param) => (mask(name, param) ? rate * weightDecay : 0),
      stepSize: rate * scale,
      beta1,
      beta2,
      epsilon: eps * root,
    };
    const shrink = clipScale(norm, clip);
    const next = fusedKernels()
      ? inPlaceAdamW(grads, state.adam, params, shrink, numbers)
      : fusedAdamW(grads, state.adam, params, shrink, numbers);
    const adam = { count, first: next.first, second: next.second };
    const nextState = { clip: { norm }, adam, decay: {}, rate: { count: state.rate.count + 1, rate } };
    return { params: next.params, state: nextState };
  };
  const chainStep = (grads: Params, state: OptimizerState, params: Params) =>
    applyStep(links, grads, state, params);
  return {
    ...links,
    globalNorm,
    step(grads, state, params, gradNorm) {
      const next = native()
        ? fusedStep(grads, state, params, gradNorm ?? globalNorm(grads))
        : chainStep(grads, state, params);
      return { ...next, gradNorm: next.state.clip.norm, learningRate: next.state.rate.rate };
    },
  };
}
