/**
 * The Porter stemmer with the deviations that NLTK made its default (mode `NLTK_EXTENSIONS`), which is the one
 * that the public rouge_score package uses. Porter, "An algorithm for suffix stripping", Program 14(3), 1980.
 *
 * Departures from the paper, all of them NLTK's: a table of irregular forms; words of one or two letters stay;
 * four-letter -ies and -ied keep their e (dies, died -> die); y becomes i only after a consonant that is not the
 * first letter (happy -> happi, enjoy -> enjoy, but sky is irregular); -alli is tried first and step 2 then runs
 * again; -bli, -fulli and -logi; a two-letter vowel-consonant word counts as *o.
 */
const irregular = new Map([
  ['skies', 'sky'],
  ['sky', 'sky'],
  ['dying', 'die'],
  ['lying', 'lie'],
  ['tying', 'tie'],
  ['news', 'news'],
  ['innings', 'inning'],
  ['inning', 'inning'],
  ['outings', 'outing'],
  ['outing', 'outing'],
  ['cannings', 'canning'],
  ['canning', 'canning'],
  ['howe', 'howe'],
  ['proceed', 'proceed'],
  ['exceed', 'exceed'],
  ['succeed', 'succeed'],
]);

/** A suffix, what replaces it, and the condition on what is left before it. */
type Rule = readonly [suffix: string, replacement: string, condition?: (stem: string) => boolean];

/** One 'c' or 'v' a letter: y is a vowel after a consonant; a digit counts as a consonant. */
function letterKinds(word: string): string {
  let kinds = '';
  for (const letter of word) {
    const vowel = 'aeiou'.includes(letter) || (letter === 'y' && kinds.endsWith('c'));
    kinds += vowel ? 'v' : 'c';
  }
  return kinds;
}

/** Porter's m: how often a vowel run is followed by a consonant run. */
function measure(stem: string): number {
  return letterKinds(stem).split('vc').length - 1;
}

const positive = (stem: string): boolean => measure(stem) > 0;
const aboveOne = (stem: string): boolean => measure(stem) > 1;

/** Porter's *d: ends in two equal consonants. */
function endsDoubleConsonant(word: string): boolean {
  return word.length >= 2 && word.at(-1) === word.at(-2) && letterKinds(word).endsWith('c');
}

/** Porter's *o: ends consonant-vowel-consonant, the last not w, x or y; or is a vowel and a consonant. */
function endsShort(word: string): boolean {
  const kinds = letterKinds(word);
  return kinds === 'vc' || (kinds.endsWith('cvc') && !'wxy'.includes(word.at(-1)!));
}

/** The first rule whose suffix fits decides, whether or not its condition then holds. */
function firstFitting(word: string, rules: readonly Rule[]): string {
  for (const [suffix, replacement, condition] of rules) {
    if (!word.endsWith(suffix)) continue;
    const stem = word.slice(0, word.length - suffix.length);
    return condition === undefined || condition(stem) ? stem + replacement : word;
  }
  return word;
}

const plurals: readonly Rule[] = [
  ['sses', 'ss'],
  ['ies', 'i'],
  ['ss', 'ss'],
  ['s', ''],
];

function step1a(word: string): string {
  if (word.length === 4 && word.endsWith('ies')) return word.slice(0, -1);
  return firstFitting(word, plurals);
}

function step1b(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return positive(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const suffix = ['ed', 'ing'].find(
    (s) => word.endsWith(s) && letterKinds(word.slice(0, -s.length)).includes('v'),
  );
  if (suffix === undefined) return word;
  const stem = word.slice(0, -suffix.length);
  if (['at', 'bl', 'iz'].some((s) => stem.endsWith(s))) return `${stem}e`;
  if (endsDoubleConsonant(stem)) return 'lsz'.includes(stem.at(-1)!) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

function step1c(word: string): string {
  const stem = word.slice(0, -1);
  return word.endsWith('y') && stem.length > 1 && letterKinds(stem).endsWith('c') ? `${stem}i` : word;
}

const doubleSuffixes: readonly Rule[] = [
  ['ational', 'ate', positive],
  ['tional', 'tion', positive],
  ['enci', 'ence', positive],
  ['anci', 'ance', positive],
  ['izer', 'ize', positive],
  ['bli', 'ble', positive],
  ['alli', 'al', positive],
  ['entli', 'ent', positive],
  ['eli', 'e', positive],
  ['ousli', 'ous', positive],
  ['ization', 'ize', positive],
  ['ation', 'ate', positive],
  ['ator', 'ate', positive],
  ['alism', 'al', positive],
  ['iveness', 'ive', positive],
  ['fulness', 'ful', positive],
  ['ousness', 'ous', positive],
  ['aliti', 'al', positive],
  ['iviti', 'ive', positive],
  ['biliti', 'ble', positive],
  ['fulli', 'ful', positive],
  // The l counts with the stem, so that geologi and theologi behave like archaeologi.
  ['logi', 'log', (stem) => positive(`${stem}l`)],
];

function step2(word: string): string {
  if (word.endsWith('alli') && positive(word.slice(0, -4))) return step2(word.slice(0, -2));
  return firstFitting(word, doubleSuffixes);
}

const middleSuffixes: readonly Rule[] = [
  ['icate', 'ic', positive],
  ['ative', '', positive],
  ['alize', 'al', positive],
  ['iciti', 'ic', positive],
  ['ical', 'ic', positive],
  ['ful', '', positive],
  ['ness', '', positive],
];

const lastSuffixes: readonly Rule[] = [
  ['al', '', aboveOne],
  ['ance', '', aboveOne],
  ['ence', '', aboveOne],
  ['er', '', aboveOne],
  ['ic', '', aboveOne],
  ['able', '', aboveOne],
  ['ible', '', aboveOne],
  ['ant', '', aboveOne],
  ['ement', '', aboveOne],
  ['ment', '', aboveOne],
  ['ent', '', aboveOne],
  ['ion', '', (stem) => aboveOne(stem) && /[st]$/.test(stem)],
  ['ou', '', aboveOne],
  ['ism', '', aboveOne],
  ['ate', '', aboveOne],
  ['iti', '', aboveOne],
  ['ous', '', aboveOne],
  ['ive', '', aboveOne],
  ['ize', '', aboveOne],
];

function step5(word: string): string {
  const stem = word.slice(0, -1);
  const m = measure(stem);
  const tidy = word.endsWith('e') && (m > 1 || (m === 1 && !endsShort(stem))) ? stem : word;
  return tidy.endsWith('ll') && aboveOne(tidy.slice(0, -1)) ? tidy.slice(0, -1) : tidy;
}

/** The stem of one lower-case word of letters a-z and digits. */
export function porterStem(word: string): string {
  const known = irregular.get(word);
  if (known !== undefined) return known;
  if (word.length <= 2) return word;
  const bare = step2(step1c(step1b(step1a(word))));
  return step5(firstFitting(firstFitting(bare, middleSuffixes), lastSuffixes));
}
