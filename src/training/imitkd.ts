import { stream } from '../random/streams.js';
import { divergenceLoss } from './divergenceLoss.js';
import type { Method } from './method.js';
import { answered, onPolicy } from './onPolicy.js';

/**
 * Distillation by imitation (Lin et al., arXiv 2009.07253): the token mean of the forward KL(p‖q) on responses of the
 * student as it is. The teacher corrects the student at the states that the student gets into.
 *
 * At step i of I the gold responses are used with probability r^(i/I), r = `imitkd.gold_decay`: the exponential decay from
 * the data to own samples. r = 0 (the default) samples at every step.
 */
export function imitkd(): Method {
  return onPolicy(
    ({ config }) => divergenceLoss('forward', config),
    (context, state) => {
      const { gold_decay } = context.config.imitkd;
      const { steps } = context.config.train;
      const gold = gold_decay === 0 ? 0 : gold_decay ** (state.step / steps);
      const draw = stream(context.config.seed, 'source', state.step)();
      return answered(draw < gold ? 'gold' : 'student', context, state);
    },
    'student',
  );
}
