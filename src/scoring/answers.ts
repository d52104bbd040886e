import type { Sequence } from '../models/packed.js';
import { BadAnswer, FinalAnswer } from './blockingHttp.js';
import { isZero, type Position } from './protocol.js';

/** Bytes of an answer at most: a list of models, and of a completion for every token that is named at a position. */
export const LIST_BYTES = 1 << 20;
const TOKEN_BYTES = 512;

/** The most that `prompt_logprobs` of some sequences may weigh, `named` tokens at each position. */
export function bytesOf(part: readonly Sequence[], named: number): number {
  const tokens = part.reduce((sum, s) => sum + s.promptIds.length + s.responseIds.length, 0);
  return LIST_BYTES + tokens * named * TOKEN_BYTES;
}

export function idsOf({ promptIds, responseIds }: Sequence): number[] {
  return [...Array.from(promptIds), ...Array.from(responseIds)];
}

/**
 * ln p of the response tokens out of what is known of every position.
 *
 * @param shown a token in words
 * @throws BadAnswer when one is missing; FinalAnswer when one has no probability, so that ln p is no number to learn from
 */
export function sampledOf(
  row: readonly Position[],
  sequence: Sequence,
  shown: (id: number) => string,
): Float32Array {
  const values = known(row, sequence);
  const zero = values.indexOf(Number.NEGATIVE_INFINITY);
  if (zero >= 0) throw noProbability(shown(sequence.responseIds[zero]!), zero, sequence);
  return values;
}

function noProbability(token: string, t: number, { promptIds }: Sequence): FinalAnswer {
  return new FinalAnswer(
    `it gives the probability of ${token} as zero, at token ${t + 1} of a response (position ${promptIds.length + t}): ` +
      'there is no finite ln p to learn from; does the server cut or mask its distribution (top_k, a logit bias)?',
  );
}

/** The same with −∞ for a probability of zero. */
function known(row: readonly Position[], sequence: Sequence): Float32Array {
  const ids = idsOf(sequence);
  if (row.length !== ids.length)
    throw new BadAnswer(`prompt_logprobs of ${row.length} positions, expected ${ids.length}`);
  return Float32Array.from(ids.slice(sequence.promptIds.length), (id, t) => {
    const logprob = row[sequence.promptIds.length + t]?.get(id);
    if (logprob === undefined)
      throw new BadAnswer(`no log-probability of token ${id}; is it the same tokenizer?`);
    return logprob;
  });
}

/**
 * The distributions at the response positions as far as their most likely tokens say, [T·V]; −∞ for the others.
 *
 * @throws BadAnswer for a token outside the vocabulary, or probabilities of more than 1
 */
export function namedOf(row: readonly Position[], sequence: Sequence, vocab: number): Float32Array {
  known(row, sequence); // lengths, and every token named
  const values = new Float32Array(sequence.responseIds.length * vocab).fill(Number.NEGATIVE_INFINITY);
  row.slice(sequence.promptIds.length).forEach((known, t) => {
    let mass = 0;
    for (const [id, logprob] of known!) {
      if (id >= vocab) throw new BadAnswer(`token ${id}, outside the vocabulary of ${vocab}`);
      values[t * vocab + id] = logprob;
      mass += Math.exp(logprob);
    }
    if (mass > 1.01) throw new BadAnswer(`probabilities that add up to ${mass.toFixed(4)}`);
  });
  return values;
}

/** Every row: no NaN, nothing above 0, no probability of zero, a sum of 1. @throws BadAnswer */
export function checkDistribution(
  values: Float32Array,
  vocab: number,
  sequence: Sequence,
  shown: (id: number) => string,
): void {
  for (let row = 0; row < values.length; row += vocab) {
    let sum = 0;
    for (let v = row; v < row + vocab; v++) {
      if (!(values[v]! <= 1e-4)) throw new BadAnswer(`a log-probability of ${values[v]}`);
      if (isZero(values[v]!)) throw noProbability(shown(v - row), row / vocab, sequence);
      sum += Math.exp(values[v]!);
    }
    if (!(Math.abs(sum - 1) < 1e-2)) throw new BadAnswer(`probabilities that add up to ${sum.toFixed(4)}`);
  }
}
