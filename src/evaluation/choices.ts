import type { Example } from '../data/examples.js';
import type { Model } from '../models/model.js';
import type { Pieces } from '../pieces.js';
import { scoreTokens } from './tokenScores.js';

/** A model's choice among the answers that an example allows. */
export interface ChoiceScore {
  /** Probability of each answer given that it is one of them. */
  probabilities: number[];
  /** The largest of them, and 1 where that answer is the reference. */
  confidence: number;
  correct: number;
}

/**
 * P(a | x, a one of the choices) = softmax over the choices of Σ_t ln q(a_t | x, a_<t), end token included: of the whole
 * answers, not of their first tokens. For the examples that have choices, in their order.
 */
export function* scoreChoices(
  model: Model,
  examples: readonly Example[],
  batchSize: number,
): Pieces<ChoiceScore[]> {
  const asked = examples.filter((example) => example.choices !== undefined);
  const answers = asked.flatMap(({ choices }) => choices!);
  const scores = (yield* scoreTokens(model, answers, batchSize)).map(({ logprobs }) =>
    logprobs.reduce((sum, x) => sum + x, 0),
  );
  let at = 0;
  return asked.map(({ choices, outputs }) => {
    const own = scores.slice(at, at + choices!.length);
    at += choices!.length;
    const most = Math.max(...own);
    const total = own.reduce((sum, x) => sum + Math.exp(x - most), 0);
    const probabilities = own.map((x) => Math.exp(x - most) / total);
    const best = own.indexOf(most);
    return {
      probabilities,
      confidence: probabilities[best]!,
      correct: Number(choices![best]!.text === outputs[0]),
    };
  });
}
