/**
 * Special tokens inside text that somebody wrote. A tokenizer makes control tokens of them: `</s>` in the middle of an answer
 * becomes an end token that is trained on. Taken as text, they are shielded before a template is filled, so that the special
 * tokens that a chat template itself writes stay what they are.
 */
export interface SpecialText {
  /** The special tokens that a text holds, each once. */
  found(text: string): string[];
  /** The text with its special tokens replaced by private characters. */
  shield(text: string): string;
  /** The text as it was. */
  unshield(text: string): string;
}

// Private-use characters: no tokenizer's tokens, no template's words.
const [OPEN, CLOSE, FIRST] = ['\uE000', '\uE001', 0xe100];
const [TOKEN_OPEN, TOKEN_CLOSE] = ['\uE002', '\uE003'];
const shielded = /\uE000([\uE100-\uF8FF])\uE001/g;

export function specialText(specials: readonly string[]): SpecialText {
  const any = anyOf(specials);
  return {
    found: (text) => (any ? [...new Set(text.match(any))] : []),
    shield: (text) =>
      any ? text.replace(any, (s) => OPEN + String.fromCharCode(FIRST + specials.indexOf(s)) + CLOSE) : text,
    unshield: (text) => unshield(text, specials),
  };
}

/** How the tokenizer of `renamedSpecials` reads a shielded text: what is left of special tokens is meant as such. */
export function meantSpecials(text: string, specials: readonly string[]): string {
  const any = anyOf(specials);
  const meant = any ? text.replace(any, (s) => TOKEN_OPEN + s + TOKEN_CLOSE) : text;
  return unshield(meant, specials);
}

/** A tokenizer.json whose special tokens have names that no text holds: it splits at them as before, and reads the old names as text. */
export function renamedSpecials(json: Record<string, unknown>): Record<string, unknown> {
  const added = ((json.added_tokens ?? []) as { content: string; special?: boolean }[]).map((token) =>
    token.special ? { ...token, content: TOKEN_OPEN + token.content + TOKEN_CLOSE } : token,
  );
  return { ...json, added_tokens: added };
}

function unshield(text: string, specials: readonly string[]): string {
  return text.replace(shielded, (_, c: string) => specials[c.charCodeAt(0) - FIRST] ?? '');
}

/** Matches any of them, the longest first. */
function anyOf(specials: readonly string[]): RegExp | undefined {
  if (specials.length === 0) return undefined;
  const sorted = [...specials].sort((a, b) => b.length - a.length);
  return new RegExp(sorted.map((s) => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|'), 'g');
}
