import type { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';

/** `transformers` classes that build their post-processor from add_bos_token and add_eos_token, whatever tokenizer.json holds. */
const obeying = /^(Llama|CodeLlama|Gemma|Cohere)Tokenizer(Fast)?$/;

/**
 * The tokens that belong in front of every text: what the post-processor of tokenizer.json puts there (LLaMA: BOS; GPT-2:
 * nothing), or for a class that obeys it, what `add_bos_token` of tokenizer_config.json asks for.
 *
 * What a post-processor puts behind a text (`A </s>`, `add_eos_token`) is left out on purpose: a prompt is to be continued, and
 * an end token is written where a response or a document ends, once.
 */
export function leadingTokens(
  hub: HubTokenizer,
  settings: Record<string, unknown>,
  bosId: number | undefined,
): number[] {
  const { tokenizer_class: name, add_bos_token: asked } = settings;
  if (typeof name === 'string' && obeying.test(name) && typeof asked === 'boolean') {
    return asked && bosId !== undefined ? [bosId] : [];
  }
  for (const probe of ['a', '0', '.', ' ']) {
    const alone: number[] = hub.encode(probe, { add_special_tokens: false }).ids;
    if (alone.length === 0) continue;
    const whole: number[] = hub.encode(probe, { add_special_tokens: true }).ids;
    const at = whole.findIndex((_, i) => alone.every((id, k) => whole[i + k] === id));
    return whole.slice(0, Math.max(0, at));
  }
  return [];
}

/** Puts the leading tokens in front of a text that does not carry them already, as a rendered conversation does. */
export function lead(leading: readonly number[], ids: number[]): number[] {
  if (leading.length === 0 || leading.every((id, i) => ids[i] === id)) return ids;
  return [...leading, ...ids];
}

/** Closes a text with its end token, unless it carries it already. */
export function closed(ids: number[], eosId: number): number[] {
  return ids.at(-1) === eosId ? ids : [...ids, eosId];
}
