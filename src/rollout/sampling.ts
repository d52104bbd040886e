/** How the next token is chosen from a distribution. */
export interface SamplingOptions {
  /** Divides the logits; 1 is the model's own distribution. Not used when greedy. */
  temperature: number;
  /** Keep only the k most probable tokens; 0 keeps all. */
  topK: number;
  /** Keep the smallest set of most probable tokens whose mass reaches p; 1 keeps all. */
  topP: number;
  /** Always the most probable token (the lowest id among equals). */
  greedy: boolean;
}

export const plainSampling: SamplingOptions = { temperature: 1, topK: 0, topP: 1, greedy: false };
