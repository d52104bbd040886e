import type { PartOfSpeech, Synset } from './wordnet.js';

/** One sense of one word in simple language: what the instruction tasks are made from. */
export interface Entry {
  /** The head word: one or two lower-case words. */
  word: string;
  partOfSpeech: PartOfSpeech;
  /** First clause of the gloss, 3 to 14 simple words, without the head word. */
  meaning: string;
  /** The broader term (nouns and verbs that have a simple one), e.g. `opening` for `rift`. */
  broader?: string;
  /** The adjective that this adjective is like (satellites). */
  like?: string;
  field: string;
  /** Simple example sentences that contain the head word or a form of it. */
  examples: string[];
}

/**
 * A word is simple when it stands in the glosses of at least this many synsets (of 117,791). Few and frequent
 * words, so that nearly every word is one token of a 2,048-token vocabulary and a model of two million parameters
 * writes real words; 40 is the highest threshold in steps of ten that leaves 30,000 training rows in the mix of tasks.
 */
export const simpleThreshold = 40;

/** The same for the words of examples, lower because examples are few: 15 leaves the 4,500 that 30,000 rows need. */
export const exampleThreshold = 15;

/** Words of a text for counting: lower case, with inner hyphens and apostrophes. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z]+(?:['-][a-z]+)*/g) ?? [];
}

/** In how many glosses (definition and examples) each word stands. */
export function glossCounts(synsets: Iterable<Synset>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const synset of synsets)
    for (const word of new Set(wordsOf(`${synset.definition} ${synset.examples.join(' ')}`)))
      counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** Usages that do not belong in a demonstration, or that make the sentence patterns of the tasks wrong. */
const excludedUsages = new Set(
  'plural,acronym,slang,archaism,trademark,disparagement,obscenity,trade name,street name,combining form,ethnic slur,vulgarism,abbreviation,comparative,superlative,Yiddish,French'.split(
    ',',
  ),
);
const excludedWords =
  /\b(?:offensive|obscene|vulgar|slurs?|derogatory|disparag\w*|sex\w*|genital\w*|copulat\w*|intercourse|prostitut\w*|rap(?:e[sd]?|ing)|incest\w*|erotic\w*|excre\w*|feces|urin\w*|genus|negro\w*|semen|penis|vagina\w*|homosexual\w*|masturbat\w*)\b/;

/**
 * The entries of the simple-language part, in the order of the synsets. A synset gives one entry, under its first
 * suitable word only: with two words it would stand on both sides of a split by word. For the same reason a meaning
 * is used once, by its first synset.
 */
export function simpleEntries(synsets: Map<string, Synset>, threshold = simpleThreshold): Entry[] {
  const counts = glossCounts(synsets.values());
  const simple = (word: string) => (counts.get(word) ?? 0) >= threshold;
  const seen = new Set<string>();
  const entries: Entry[] = [];
  for (const synset of synsets.values()) {
    const word = synset.words.find(isHeadWord);
    const meaning = cleanMeaning(synset.definition);
    if (word === undefined || meaning === undefined || excludedWords.test(`${word} ${synset.definition}`))
      continue;
    if (synset.usage.some((id) => excludedUsages.has(synsets.get(id)?.words[0] ?? ''))) continue;
    const words = wordsOf(meaning);
    if (words.length < 3 || words.length > 14 || !words.every(simple)) continue;
    if (word.split(' ').some((part) => words.some((w) => isForm(w, part)))) continue;
    const key = `${synset.partOfSpeech} ${meaning}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const wordOf = (id: string | undefined) =>
      synsets
        .get(id ?? '')
        ?.words.find((w) => /^[a-z]+(?: [a-z]+)?$/.test(w) && w !== word && w.split(' ').every(simple));
    const broader = wordOf(synset.broader[0]);
    const like = wordOf(synset.similar[0]);
    entries.push({
      word,
      partOfSpeech: synset.partOfSpeech,
      meaning,
      ...(broader !== undefined && { broader }),
      ...(like !== undefined && { like }),
      field: synset.field,
      examples: synset.examples.flatMap(
        (example) => cleanExample(example, word, (w) => (counts.get(w) ?? 0) >= exampleThreshold) ?? [],
      ),
    });
  }
  return entries;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** One or two lower-case words of letters: no names, abbreviations, numbers or hyphens. */
function isHeadWord(word: string): boolean {
  return /^[a-z]{3,12}(?: [a-z]{2,10})?$/.test(word);
}

/** The first clause without remarks in parentheses; undefined when anything but words and commas is left. */
export function cleanMeaning(definition: string): string | undefined {
  const clause = (definition.replace(/\([^()]*\)/g, ' ').split(/[;:]/)[0] ?? '')
    .replace(/\s+/g, ' ')
    .replace(/ ,/g, ',')
    .replace(/^[\s,]+|[\s,.]+$/g, '')
    .replace(/^to (?=[a-z])/, '');
  return /^[a-z][a-z ,'-]*$/.test(clause) ? clause : undefined;
}

function cleanExample(example: string, word: string, simple: (word: string) => boolean): string | undefined {
  const text = example
    .replace(/\s+/g, ' ')
    .replace(/[\s,.;:]+$/, '')
    .trim();
  if (!/^[A-Za-z][A-Za-z ,'-]*[!?]?$/.test(text) || excludedWords.test(text.toLowerCase())) return undefined;
  const words = wordsOf(text);
  if (words.length < 3 || words.length > 12) return undefined;
  const parts = word.split(' ');
  const at = words.findIndex((_, i) => parts.every((part, k) => isForm(words[i + k] ?? '', part)));
  if (at < 0) return undefined;
  return words.every((w, i) => (i >= at && i < at + parts.length) || simple(w)) ? capital(text) : undefined;
}

/** True for the word itself and its regular forms: call, calls, called; make, making; try, tried; run, running. */
export function isForm(text: string, word: string): boolean {
  if (text === word) return true;
  const stem = word.replace(/[ey]$/, '');
  return (
    text.startsWith(stem) &&
    /^(?:[a-z]?(?:ing|ed|er|est)|e?s|i?es|e?d|ied|er|est|y|ly)$/.test(text.slice(stem.length))
  );
}
