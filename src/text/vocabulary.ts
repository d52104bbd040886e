import { brief, UsageError } from '../errors.js';

type Json = Record<string, unknown>;

/** No vocabulary is near this; a larger id in a file is an error, and would make arrays of that size. */
const maxVocabulary = 2 ** 24;

/** All (id, token) pairs of a tokenizer.json by id, added tokens over model tokens, every one checked. */
export function readVocabulary(json: Json, where: string): [number, string][] {
  const bad = (what: string) => new UsageError(`${where}: ${what}; is this a Hugging Face tokenizer.json?`);
  const model = json.model as Json | null | undefined;
  const vocab = typeof model === 'object' ? model?.vocab : undefined;
  if (typeof vocab !== 'object' || vocab === null) throw bad('no "model.vocab"');
  // BPE and WordPiece map token to id; Unigram lists [token, score].
  const pairs: [unknown, unknown][] = Array.isArray(vocab)
    ? vocab.map((entry, id) => [id, Array.isArray(entry) ? entry[0] : undefined])
    : Object.entries(vocab).map(([token, id]) => [id, token]);
  const added: unknown = json.added_tokens ?? [];
  if (!Array.isArray(added)) throw bad('"added_tokens" is not a list');
  for (const token of added as (Json | null)[]) pairs.push([token?.id, token?.content]);
  const tokens = new Map<number, string>();
  for (const [id, token] of pairs) {
    if (
      typeof token !== 'string' ||
      typeof id !== 'number' ||
      !Number.isInteger(id) ||
      id < 0 ||
      id >= maxVocabulary
    )
      throw bad(
        `token ${brief(token)} has id ${brief(id)}, expected a whole number from 0 to ${maxVocabulary - 1}`,
      );
    tokens.set(id, token);
  }
  if (tokens.size === 0) throw bad('the vocabulary is empty');
  return [...tokens].sort(([a], [b]) => a - b);
}
