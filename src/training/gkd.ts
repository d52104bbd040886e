import { stream } from '../random/streams.js';
import { divergenceLoss } from './divergenceLoss.js';
import type { Method } from './method.js';
import { answered, onPolicy } from './onPolicy.js';

/**
 * Generalised knowledge distillation (Agarwal et al., arXiv 2306.13649, Algorithm 1): the token mean of the generalised
 * Jensen-Shannon divergence JSD(β) (`jensenShannon`), with probability λ = `gkd.lambda` at a step on responses of the
 * student as it is, otherwise on the gold responses, or on the teacher's with `gkd.seq_kd`. λ = 1, β = 1 is on-policy
 * reverse KL; λ = 0, β = 0 is the forward KL of `kd`.
 */
export function gkd(): Method {
  return onPolicy(
    ({ config }) => divergenceLoss('jsd', config, config.gkd.beta),
    (context, state) => {
      const { lambda, seq_kd } = context.config.gkd;
      const draw = stream(context.config.seed, 'source', state.step)();
      return answered(draw < lambda ? 'student' : seq_kd ? 'teacher' : 'gold', context, state);
    },
    'student',
  );
}
