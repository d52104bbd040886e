import { native } from '../tensor/backend.js';
import type { Params } from '../tensor/params.js';
import { type AdamState, biasCorrection, scaleByAdam } from './adam.js';
import { type ClipState, clipByGlobalNorm, globalNorm } from './clip.js';
import { fusedAdam } from './fused.js';
import {
  addDecayedWeights,
  type DecayMask,
  decayMatricesOnly,
  type LearningRateState,
  scaleByLearningRate,
} from './links.js';
import type { Schedule } from './schedules.js';
import { applyStep, chain, type GradientTransformation } from './transform.js';

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
  /** `applyStep` of this optimizer: consumes params and state, returns the new ones and what was measured. */
  step(
    grads: Params,
    state: OptimizerState,
    params: Params,
  ): { params: Params; state: OptimizerState; gradNorm: number; learningRate: number };
}

/**
 * AdamW with global-norm clipping: the chain clip, Adam, decoupled decay, learning rate. The same numbers as
 * torch.nn.utils.clip_grad_norm_ followed by torch.optim.AdamW: p ← p − lr (m̂/(sqrt(v̂) + eps) + weightDecay · p).
 */
export function adamw(options: AdamWOptions): Optimizer {
  const {
    learningRate,
    beta1 = 0.9,
    beta2 = 0.95,
    eps = 1e-8,
    weightDecay = 0,
    mask,
    clip = Infinity,
  } = options;
  const schedule = typeof learningRate === 'number' ? () => learningRate : learningRate;
  const decays = mask ?? decayMatricesOnly;
  const clipping = clipByGlobalNorm(clip);
  const links = chain({
    clip: clipping,
    adam: scaleByAdam({ beta1, beta2, eps }),
    decay: addDecayedWeights(weightDecay, decays),
    rate: scaleByLearningRate(schedule),
  });
  /** The whole chain in one kernel a parameter. */
  const fused = (grads: Params, state: OptimizerState, params: Params) => {
    const [clipped, clipState] = clipping.update(grads, state.clip, params);
    const rate = schedule(state.rate.count);
    const adamCount = state.adam.count + 1;
    const correction = biasCorrection(beta1, beta2, adamCount);
    const next = { params: {} as Params, first: {} as Params, second: {} as Params };
    for (const [name, param] of Object.entries(params)) {
      const updated = fusedAdam(
        { param, first: state.adam.first[name]!, second: state.adam.second[name]! },
        clipped[name]!,
        {
          decay: decays(name, param) ? rate * weightDecay : 0,
          stepSize: rate * correction.scale,
          beta1,
          beta2,
          epsilon: eps * correction.root,
        },
      );
      next.params[name] = updated.param;
      next.first[name] = updated.first;
      next.second[name] = updated.second;
      if (clipped[name] !== grads[name]) clipped[name]!.dispose();
    }
    return {
      params: next.params,
      state: {
        clip: clipState,
        adam: { count: adamCount, first: next.first, second: next.second },
        decay: {},
        rate: { count: state.rate.count + 1, rate },
      },
    };
  };
  return {
    ...links,
    globalNorm,
    step(grads, state, params) {
      const next = native() ? fused(grads, state, params) : applyStep(links, grads, state, params);
      return { ...next, gradNorm: next.state.clip.norm, learningRate: next.state.rate.rate };
    },
  };
}
