/** A prompt and the tokens that are to be predicted after it. */
export interface Sequence {
  promptIds: ArrayLike<number>;
  responseIds: ArrayLike<number>;
}
