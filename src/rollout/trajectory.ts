import type { TaskReward } from '../objectives/taskRewards.js';

/**
 * One sampled response and everything that was known when it was sampled. The one record that rollout, scoring,
 * objectives, training and `inspect` agree on. Never padded: every array below has one entry per response token
 * (the first EOS counts as a token); padding exists only inside a batch.
 */
export interface Trajectory {
  /** Index of the prompt in its set; with `sample` it names the random stream. */
  promptIndex: number;
  /** Which of the K samples of this prompt. */
  sample: number;
  promptIds: Int32Array;
  responseIds: Int32Array;
  /** ln q(y_t | s_t) of the student that sampled, at the sampling temperature. */
  studentLogprobs: Float32Array;
  /** ln p(y_t | s_t) of the teacher at temperature 1 (the reward uses this one); absent without a teacher. */
  teacherLogprobs?: Float32Array;
  /** ln of the probability with which y_t was really drawn: ln p̃ = ln(αp + (1−α)q) when mixed, at the temperature. */
  behaviorLogprobs: Float32Array;
  /** KL(q‖p) over the whole vocabulary at each state, sampling policy, in nats; absent without a teacher. */
  kl?: Float32Array;
  /** Entropy of q at each state, nats. */
  entropy: Float32Array;
  /** Σ_v q(v | s_t)²: the chance that two draws at this state agree. With q(y_t) it gives |∇ln q(y_t)|² in the logits. */
  collision: Float32Array;
  /** V(s_t), what a value head said before it learned from this round; absent without one (training/valueRound.ts). */
  values?: Float32Array;
  /** What the rewards of a task say of it; absent without a task (training/taskRewards.ts). */
  rewards?: TaskReward[];
  /** True if the response ended by itself (EOS), false if it was cut at the length limit. */
  finished: boolean;
  /** Optimizer step of the student that sampled. */
  policyVersion: number;
  /** Address of the random stream, for reproduction. */
  streamKey: string;
}
