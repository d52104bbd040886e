import { endTokens as endTokensOf } from '../models/config.js';
import type { Model } from '../models/model.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** The tokenizer's part in what ends a response: its directory for messages, and the token that training data ends with. */
export interface EndsOf {
  directory: string;
  tokenizer: Pick<Tokenizer, 'eosId'> | undefined;
}

/**
 * Tokens that end a response: all that generation_config.json, config.json or the tokenizer name. The tokenizer's is the one
 * that training data ends with, so a model that has learnt it must be heard when it says it.
 */
export function endTokens({ config }: Model, tokenizer: Pick<Tokenizer, 'eosId'> | undefined): number[] {
  const named = config.hf.eos_token_id as number | number[] | null | undefined;
  const ids = [...config.eosIds, ...endTokensOf(named, config.vocabSize)];
  return [...new Set(tokenizer ? [...ids, tokenizer.eosId] : ids)];
}

/**
 * The model with all its end tokens in its configuration, which is what it is saved with. Where the files do not agree, a line
 * says who names what.
 */
export function withEndTokens(
  model: Model,
  { directory, tokenizer }: EndsOf,
  log: (line: string) => void,
): Model {
  const { eosIds: primary, hf, generation } = model.config;
  const eosIds = endTokens(model, tokenizer);
  if (primary.length > 0 && eosIds.length > primary.length) {
    const named: [string, unknown][] = [
      ['tokenizer', tokenizer?.eosId],
      ['config.json', hf.eos_token_id],
      ['generation_config.json', generation?.eos_token_id],
    ];
    const shown = named
      .filter(([, ids]) => ids !== undefined && ids !== null)
      .map(([file, ids]) => `${file} ${[ids].flat().join(', ')}`);
    log(
      `note: ${directory}: the files name different end tokens (${shown.join('; ')}): ` +
        `a response ends at any of ${eosIds.join(', ')}${tokenizer ? `, training data with ${tokenizer.eosId}` : ''}`,
    );
  }
  return { ...model, config: { ...model.config, eosIds } };
}

/** @returns a line where a teacher ends its answers with tokens that end none of the student's; undefined where it does not */
export function foreignEnds(
  student: Model,
  teacher: Model,
  where: string,
  closing: number,
): string | undefined {
  const foreign = teacher.config.eosIds.filter((id) => !student.config.eosIds.includes(id));
  if (foreign.length === 0) return undefined;
  return (
    `note: teacher ${where} ends with ${foreign.join(', ')}, the student with ${student.config.eosIds.join(', ')}: ` +
    `the teacher's answers are cut at its own end and closed with ${closing}; ` +
    'in a mixture, and in the KL, its end is a token like any other'
  );
}
