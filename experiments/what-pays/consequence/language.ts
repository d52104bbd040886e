/**
 * A language in which the first word decides what can still be said well. A prompt names a key. A sentence takes one of two roads: it
 * counts a1 a2 a3 … or b1 b2 b3 … up to the length of the language, and ends. On road a every fourth word is an answer, a4.k, which only
 * those can give who remember the key k; road b asks nothing. Whoever has forgotten the key does best not to set out on road a, but
 * learns this only from what comes later: the teacher takes either road half of the time.
 */

export interface Language {
  /** Words of a sentence, its end not counted. */
  length: number;
  /** m, how many keys there are. */
  keys: number;
  /** τ, the probability with which the teacher gives one particular wrong answer. */
  doubt: number;
  /** By token id; the first three are the end, padding, and what stands between key and sentence. */
  words: readonly string[];
}

/** Road a asks at every so many words. */
const EVERY = 4;
/** How many nats below an allowed word every other word is: e^−14 of its probability. */
const FLOOR = 14;

export const END = '</s>';
export const PADDING = '<pad>';
export const ANSWER = 'Answer:';

/** @param length a multiple of 4 */
export function languageOf(length: number, { keys = 4, doubt = 0.02 } = {}): Language {
  if (!(Number.isInteger(length / EVERY) && length > 0))
    throw new Error(`length ${length}: expected a multiple of ${EVERY}`);
  const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
  const places = count(length);
  const roadA = places.flatMap((t) => (asks(t) ? count(keys).map((key) => answer(t, key)) : [`a${t}`]));
  const words = [END, PADDING, ANSWER, ...count(keys).map(keyWord), ...roadA, ...places.map((t) => `b${t}`)];
  return { length, keys, doubt, words };
}

export const keyWord = (key: number): string => `k${key}`;

/** The two sentences of the language for a key, without the end. */
export function sentences({ length }: Language, key: number): [a: string[], b: string[]] {
  const places = Array.from({ length }, (_, i) => i + 1);
  return [places.map((t) => (asks(t) ? answer(t, key) : `a${t}`)), places.map((t) => `b${t}`)];
}

/**
 * ln p(next | word, key) up to a constant, as two tables that are added: what may follow a word whatever the key, and how much a key
 * favours its own answers wherever they are. A teacher of one layer can hold exactly this (teacher.ts).
 *
 * @returns follows[word][next] and favours[key − 1][next]
 */
export function tables(language: Language): { follows: Float64Array[]; favours: Float64Array[] } {
  const { words, keys, doubt } = language;
  const follows = words.map((word) => {
    const allowed = followers(language, word);
    return Float64Array.from(words, (next) => (allowed.includes(next) ? 0 : -FLOOR));
  });
  const strength = Math.log((1 - (keys - 1) * doubt) / doubt);
  const favours = Array.from({ length: keys }, (_, k) =>
    Float64Array.from(words, (next) => (next.endsWith(`.${k + 1}`) ? strength : 0)),
  );
  return { follows, favours };
}

/** p(· | word, key), by token id. */
export function distribution(
  { follows, favours }: ReturnType<typeof tables>,
  word: number,
  key: number,
): Float64Array {
  const weights = follows[word]!.map((x, v) => Math.exp(x + favours[key - 1]![v]!));
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

/**
 * The lowest reverse KL per response, in nats, that a student can have which counts as well as the teacher but does not know the key,
 * and the probability with which it takes road a. Such a student answers evenly, which costs κ = −ln m − (1 − 1/m) ln τ − ln(1 − (m−1)τ)/m
 * nats a question. With credit for what follows, q(a) ∝ p(a) e^(−nκ); with credit for the single step, q(a) = p(a) = ½.
 */
export function optimum(language: Language): Record<'sequence' | 'single', { kl: number; roadA: number }> {
  const { keys, doubt } = language;
  const perQuestion =
    -Math.log(keys) - (1 - 1 / keys) * Math.log(doubt) - Math.log(1 - (keys - 1) * doubt) / keys;
  const cost = (language.length / EVERY) * perQuestion;
  return {
    sequence: { kl: -Math.log((1 + Math.exp(-cost)) / 2), roadA: 1 / (1 + Math.exp(cost)) },
    single: { kl: cost / 2, roadA: 0.5 },
  };
}

const asks = (place: number): boolean => place % EVERY === 0;
const answer = (place: number, key: number): string => `a${place}.${key}`;

function followers({ length, keys }: Language, word: string): string[] {
  if (word === ANSWER) return ['a1', 'b1'];
  const road = word[0];
  const place = Number.parseInt(word.slice(1), 10);
  if (word === END || word === PADDING || road === 'k') return [ANSWER];
  if (place === length) return [END];
  const next = place + 1;
  if (road === 'b' || !asks(next)) return [`${road}${next}`];
  return Array.from({ length: keys }, (_, k) => answer(next, k + 1));
}
