import { isPolicyGradient, type TrainConfig } from '../training/config.js';
import type { PlanInputs } from './inputs.js';

/** What a plan cannot know, in sentences. */
export function unknowns(
  config: TrainConfig,
  { models, remote, data, hasText }: PlanInputs,
  timed: boolean,
): string[] {
  const { method, train, eval: validation, rollout } = config;
  const samples =
    (isPolicyGradient(method) && rollout.states === 'sampled') ||
    ['gkd', 'imitkd', 'distillm', 'seqkd'].includes(method);
  const lines: (string | false)[] = [
    samples &&
      (data.bounds
        ? `how long responses will be: taken to be ${rollout.max_new_tokens} tokens, the most`
        : 'how long sampled responses will be: taken to be as long as the gold ones; the longer time is for the longest'),
    data.bounds !== undefined &&
      `rows and tokens of the data (${data.bounds}): every row is taken to be as long as the limits allow`,
    method === 'seqkd' &&
      data.trainRows === null &&
      "the teacher's answers before the first step: one for every training row",
    hasText && data.pieces === null && 'how much plain text there is; it changes no cost',
    !timed && 'time: nothing was measured',
    remote.length > 0 &&
      `size, memory and time of the teacher at ${remote.join(', ')}: it is on another machine`,
    models.some(({ weights }) => weights === 'absent') &&
      'whether the weights fit config.json: there are none',
    method === 'distillm' && 'how the share of own samples grows: taken to stay at distillm.threshold',
    train.max_seconds !== undefined && `train.max_seconds ${train.max_seconds} may end the run earlier`,
    train.max_teacher_tokens !== undefined &&
      `train.max_teacher_tokens ${train.max_teacher_tokens} may end the run earlier`,
    validation.patience !== undefined && `eval.patience ${validation.patience} may end the run earlier`,
    validation.metrics.length > 0 && `time of the metrics ${validation.metrics.join(', ')} in validation`,
  ];
  return lines.filter((line) => line !== false);
}
