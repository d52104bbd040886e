import { ngrams, type Tokens } from './ngrams.js';
import { rougeLOfTokens, rougeTokens } from './rougeL.js';

/**
 * Distinct-n: different n-grams / all n-grams, pooled over the responses (Li et al., "A Diversity-Promoting
 * Objective Function for Neural Conversation Models", 2016). NaN when no response has n tokens.
 *
 * It falls with the amount of text and saturates near 1 on short answers to different prompts: compare only sets
 * of equal size, and prefer `sampleDiversity` for what a policy has lost.
 */
export function distinctN(responses: readonly Tokens[], n: number): number {
  const all = responses.flatMap((response) => ngrams(response, n));
  return all.length === 0 ? Number.NaN : new Set(all).size / all.length;
}

/** 1 for two equal answers (two empty ones included), else their Rouge-L F1. */
function similarity(a: readonly string[], b: readonly string[]): number {
  if (a.length === b.length && a.every((word, i) => word === b[i])) return 1;
  return rougeLOfTokens(a, b);
}

/**
 * How different the samples of ONE prompt are: 1 − mean Rouge-L over all pairs, in [0, 1]. 0: always the same answer.
 * @throws RangeError with fewer than two samples, where it means nothing.
 */
export function promptDiversity(samples: readonly string[]): number {
  if (samples.length < 2)
    throw new RangeError(`diversity needs two samples of a prompt, got ${samples.length}`);
  const words = samples.map(rougeTokens);
  let sum = 0;
  let pairs = 0;
  for (let i = 0; i < words.length; i++) {
    for (let j = 0; j < i; j++, pairs++) sum += similarity(words[i]!, words[j]!);
  }
  return 1 - sum / pairs;
}

/** `promptDiversity` of every prompt, one number a prompt: summarise it with `summarize`. */
export function sampleDiversity(samplesByPrompt: readonly (readonly string[])[]): number[] {
  return samplesByPrompt.map(promptDiversity);
}

/** Distinct-n among the samples of each prompt, one number a prompt; NaN where all of them are shorter than n. */
export function distinctPerPrompt(samplesByPrompt: readonly (readonly Tokens[])[], n: number): number[] {
  return samplesByPrompt.map((samples) => distinctN(samples, n));
}
