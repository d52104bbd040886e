import { type Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../errors.js';
import type { RolloutOptions } from '../rollout/options.js';
import { stopsAt } from '../text/stopStrings.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { nonNegativeInteger, numberBetween, repeated } from './common.js';

export interface SamplingFlags {
  minP: number;
  repetitionPenalty: number;
  forbidNgrams: number;
  stop: string[];
}

/** What changes a distribution besides temperature, top-k and top-p, and what ends a response besides its end tokens. */
export function withSamplingFlags(command: Command): Command {
  return command
    .option(
      '--min-p <m>',
      'keep the tokens at least this share as probable as the likeliest; 0 = all',
      belowOne,
      0,
    )
    .option(
      '--repetition-penalty <t>',
      'on the logits of tokens in prompt and response (CTRL); 1 = off',
      numberBetween(1e-6, 1e6),
      1,
    )
    .option('--forbid-ngrams <n>', FORBID_NGRAMS, nonNegativeInteger, 0)
    .option(
      '--stop <text>',
      'end a response with the token that completes this text; repeatable',
      repeated,
      [],
    );
}

export const FORBID_NGRAMS = 'let no n-gram of so many tokens occur twice in prompt and response; 0 = off';

/** @throws UsageError for stop strings without a tokenizer, or an empty one */
export function samplingOf(
  { minP, repetitionPenalty, forbidNgrams, stop }: SamplingFlags,
  tokenizer: Tokenizer | undefined,
): Pick<RolloutOptions, 'minP' | 'repetitionPenalty' | 'noRepeatNgram' | 'stop'> {
  if (stop.length > 0 && !tokenizer)
    throw new UsageError('--stop: needs the text of tokens, and the model has no tokenizer.json');
  const stops = tokenizer && stopsAt(tokenizer, stop);
  return { minP, repetitionPenalty, noRepeatNgram: forbidNgrams, ...(stops && { stop: stops }) };
}

function belowOne(text: string): number {
  const share = numberBetween(0, 1)(text);
  if (share === 1) throw new InvalidArgumentError('expected a number from 0 to below 1.');
  return share;
}
