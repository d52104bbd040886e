import { textSequence } from '../models/packed.js';
import type { Pieces } from '../pieces.js';
import { stream } from '../random/streams.js';
import { divergenceLoss } from './divergenceLoss.js';
import type { Method, TrainingContext } from './method.js';
import { answered, type Batch, onPolicy } from './onPolicy.js';
import { batchIndices } from './order.js';
import { textBatches } from './pretraining.js';
import { judge, type Replay, recall, remember } from './replay.js';
import type { TrainingState } from './state.js';

/**
 * DistiLLM (Ko et al., arXiv 2402.03898): the token mean of a skew KL (`skewForwardKl`, `skewReverseKl`) with the adaptive
 * off-policy schedule of its code. A step draws r ~ U(0, 1) and learns from
 *
 *     samples of the student as it is   if r < φ (1 − step/steps), or r < φ while the buffer is not full; they go into it
 *     the replay buffer                 else if r < φ
 *     gold responses                    else
 *
 * φ begins at `distillm.threshold` and grows when the validation loss does (`judge`). With a corpus and
 * `distillm.lm_coef`, the cross-entropy on plain text is added.
 */
export function distillm(): Method {
  const base = onPolicy(
    ({ config }) => divergenceLoss(config.distillm.divergence, config, config.distillm.lambda),
    choose,
    'gold',
  );
  return {
    ...base,
    async collect(context, state) {
      const metrics = await base.collect!(context, state);
      const { threshold, buffer } = replayOf(context, state);
      return { ...metrics, replay_threshold: threshold, replay_size: buffer.length };
    },
    step(context, state) {
      const plan = base.step(context, state);
      return { ...plan, micro: [...plan.micro, ...textLoss(context, state)] };
    },
    validated(context, state, lmLoss) {
      const { tolerance, threshold_step } = context.config.distillm;
      state.replay = judge(replayOf(context, state), lmLoss, { tolerance, increment: threshold_step });
    },
  };
}

function* choose(context: TrainingContext, state: TrainingState): Pieces<Batch> {
  const { seed, train, distillm } = context.config;
  const replay = replayOf(context, state);
  const rng = stream(seed, 'source', state.step);
  const draw = rng();
  const fresh = replay.threshold * (1 - state.step / train.steps);
  const room = replay.buffer.length < distillm.capacity;
  if (draw < fresh || (draw < replay.threshold && room)) {
    const batch = yield* answered('student', context, state);
    state.replay = remember(replay, batch.sequences, distillm.capacity);
    return batch;
  }
  if (draw >= replay.threshold) return yield* answered('gold', context, state);
  return { source: 'replay', sequences: recall(replay, train.batch_size, rng) };
}

function replayOf({ config }: TrainingContext, state: TrainingState): Replay {
  return state.replay ?? { threshold: config.distillm.threshold, reference: null, buffer: [] };
}

function textLoss(context: TrainingContext, state: TrainingState) {
  const { config, corpus } = context;
  const { lm_coef } = config.distillm;
  if (lm_coef === 0 || corpus.length === 0) return [];
  const size = config.pretrain.batch_size ?? config.train.batch_size;
  const pieces = batchIndices(config.seed, 'pretrain', state.step, corpus.length, size).map((i) =>
    textSequence(corpus[i]!),
  );
  return textBatches(context, pieces, { lm_coef, kd_ratio: 0 }, config.train.micro_batch_size);
}
