import type { TrainConfig } from '../training/config.js';
import type { TrainingState } from '../training/state.js';
import type { RunLog } from './runLog.js';

/** What ends a run before its last step, in words. */
export function whySpent(
  { train, eval: validation }: TrainConfig,
  state: TrainingState,
  runLog: RunLog,
): string | undefined {
  const { max_seconds, max_teacher_tokens } = train;
  if (max_seconds !== undefined && runLog.trainSeconds >= max_seconds)
    return `train.max_seconds ${max_seconds} are used up`;
  if (max_teacher_tokens !== undefined && runLog.teacherTokens >= max_teacher_tokens)
    return `train.max_teacher_tokens ${max_teacher_tokens} are used up`;
  const { patience, every } = validation;
  if (patience !== undefined && state.best && state.step - state.best.step >= patience * every)
    return `eval.patience ${patience}: no validation since step ${state.best.step} was better`;
  return undefined;
}
