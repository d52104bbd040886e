import { ngrams, type Tokens } from './ngrams.js';
import { type Summary, summarize } from './statistics.js';

/**
 * Repetition rate of one response in [0, 1): the share of its n-grams that occurred in it before,
 * (all − different) / all. 0 for a response shorter than n, which cannot repeat itself.
 */
export function repetitionRate(tokens: Tokens, n = 4): number {
  const all = ngrams(tokens, n);
  return all.length === 0 ? 0 : (all.length - new Set(all).size) / all.length;
}

/** What `responseShape` reads of a generated response. */
export interface GeneratedResponse {
  /** Response token ids, the EOS included when there is one. */
  tokens: Tokens;
  text: string;
  /** Ended by EOS, not cut at the length limit. */
  finished: boolean;
}

/** The outward form of a set of responses. The last three are shares of responses, or of 4-grams, in [0, 1]. */
export interface ResponseShape {
  /** Tokens, EOS included. */
  length: Summary;
  /** Ended by EOS. */
  ended: Summary;
  /** Nothing but white space. */
  empty: Summary;
  /** Mean over responses of `repetitionRate`. */
  repetition: Summary;
}

/**
 * Length, share ended, share empty and repetition of a set of responses. Reverse KL that falls while these leave the
 * teacher's values is reward hacking: the sequence-level KL is a sum over tokens and rewards saying less.
 */
export function responseShape(responses: readonly GeneratedResponse[]): ResponseShape {
  return {
    length: summarize(responses.map((r) => r.tokens.length)),
    ended: summarize(responses.map((r) => Number(r.finished))),
    empty: summarize(responses.map((r) => Number(r.text.trim() === ''))),
    repetition: summarize(responses.map((r) => repetitionRate(r.tokens))),
  };
}
