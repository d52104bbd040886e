import { UsageError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { tokenIds } from './prompts.js';
import type { Item, Row } from './values.js';

/**
 * A row `{"prompt_ids":[…],"response_ids":[…]}`: tokens as a model read and wrote them. A text would not bring them back where a model
 * did not write as its tokenizer cuts, nor say that a response was cut off: no end token is added. Without `response_ids` it has no reference.
 *
 * @throws UsageError for what is no list of token ids
 */
export function givenIds(row: Row, where: string): Item {
  const prompt = tokenIds(row.prompt_ids, `${where}: "prompt_ids"`);
  const response = row.response_ids == null ? [] : tokenIds(row.response_ids, `${where}: "response_ids"`);
  return { instruction: '', input: '', outputs: [], ids: { prompt, response } };
}

/** What makes them an example (`Example`); the texts are what the tokenizer makes of the ids. @throws UsageError for an id that the tokenizer does not have */
export function exampleOfIds(
  { prompt, response }: NonNullable<Item['ids']>,
  where: string,
  tokenizer: Tokenizer,
) {
  for (const [field, ids] of Object.entries({ prompt_ids: prompt, response_ids: response })) {
    const beyond = ids.findIndex((id) => id >= tokenizer.vocabSize);
    if (beyond >= 0)
      throw new UsageError(
        `${where}: "${field}"[${beyond}]: ${ids[beyond]} is no token of this tokenizer; expected ids below ${tokenizer.vocabSize}`,
      );
  }
  const text = tokenizer.decode(prompt, { skipSpecial: true });
  return {
    ...{ instruction: text, input: '', prompt: text },
    outputs: response.length > 0 ? [tokenizer.decode(response, { skipSpecial: true })] : [],
    promptIds: Int32Array.from(prompt),
    responseIds: Int32Array.from(response),
  };
}
