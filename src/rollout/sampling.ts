/**
 * How the next token is chosen from a distribution. What is set acts in the order of `transformers`:
 *
 *     repetition penalty, no-repeat n-grams   on the logits of student and teacher, each its own
 *     temperature                             divides them
 *     mixture                                 p̃ = αp + (1−α)q, in probability space
 *     top-k, top-p, min-p                     cut the mixture
 */
export interface SamplingOptions {
  /** Divides the logits; 1 is the model's own distribution. Not used when greedy. */
  temperature: number;
  /** Keep only the k most probable tokens; 0 keeps all. */
  topK: number;
  /** Keep the smallest set of most probable tokens whose mass reaches p; 1 keeps all. */
  topP: number;
  /** Of what is left keep the tokens at least this share as probable as the likeliest (min-p, arXiv 2407.01082); 0, the default, keeps all. */
  minP?: number;
  /**
   * θ of CTRL (Keskar et al., arXiv 1909.05858, section 4.1) for every token of prompt and response so far: a logit above 0
   * is divided by it, one below multiplied; 1, the default, leaves them.
   */
  repetitionPenalty?: number;
  /** No n-gram of this length occurs twice in prompt and response; 0, the default, forbids none. */
  noRepeatNgram?: number;
  /** Always the most probable token (the lowest id among equals). */
  greedy: boolean;
}

export const plainSampling: SamplingOptions = { temperature: 1, topK: 0, topP: 1, greedy: false };
