import type { ObjectiveConfig } from '../objectives/presets.js';
import type { Trajectory } from '../rollout/trajectory.js';
import { rescore } from './rescore.js';
import type { Models } from './supervised.js';

/**
 * Sampled responses with what the rollout engine would have recorded of a teacher at hand: ln p(y_t | s_t), and the KL at each
 * state by one pass of the student over them.
 *
 * From a teacher that gives sampled tokens only, the KL of a token is its one-sample estimate k1 = ln q(y_t) − ln p(y_t):
 * right on average, for reports alone (runs/remoteTeacher.ts refuses an objective that would train on it).
 */
export function scoreRemotely(
  models: Models,
  trajectories: readonly Trajectory[],
  { temperature }: Pick<ObjectiveConfig, 'temperature'>,
): Trajectory[] {
  const { remote } = models.teachers[0]!;
  if (remote!.gives === 'sampled') {
    const logprobs = remote!.logprobs(trajectories);
    return trajectories.map((t, i) => ({
      ...t,
      teacherLogprobs: logprobs[i]!,
      kl: t.studentLogprobs.map((q, n) => q - logprobs[i]![n]!),
    }));
  }
  // All at once, so that requests go out together; the passes below find them known.
  remote!.distributions(trajectories);
  const responses = trajectories.map(({ promptIds, responseIds, studentLogprobs }) => ({
    promptIds,
    responseIds,
    oldLogprobs: studentLogprobs,
  }));
  const scored = rescore(models, responses, { alpha: 0, temperature });
  return trajectories.map((t, i) => {
    const { teacherLogprobs, kl } = scored[i]!.trajectory;
    return { ...t, teacherLogprobs: teacherLogprobs!, kl: kl! };
  });
}
