/** What one sample costs, in the unit of one token read by the student's forward pass. */
export interface CostModel {
  /** Mean number of tokens of a prompt; 0 in a tabular world. */
  promptTokens: number;
  /** One token read by the teacher, in that unit. */
  teacher: number;
}

/**
 * Mean cost of one response and its update, all samples being used for one gradient:
 *
 *     prompt     P (1 + c) / K     read once by student and teacher for the K samples of the prompt
 *     sampling   L (1 + c)         every token is read by both: all estimators need ln p(y_t), or the mixture
 *     values     P + L             where V(s) is read: a pass of the student for its hidden states
 *     update     3 (P + L)         forward and backward of the student, a backward pass counting as two forward ones
 *
 * (the unit of `minillm variance`, too). L is the mean length under the sampling distribution. Baselines, returns, weights and
 * the head itself cost a vanishing part of a forward pass and count as nothing; so does here the output head that `action-value` goes
 * through once more, which of a real model is more (`minillm variance` counts it).
 */
export function costOfSample(
  { promptTokens, teacher }: CostModel,
  responseTokens: number,
  samples: number,
  readsValues: boolean,
): number {
  const reading = 1 + teacher;
  const passes = 3 + (readsValues ? 1 : 0);
  return (
    (promptTokens * reading) / samples + responseTokens * reading + passes * (promptTokens + responseTokens)
  );
}
