import { integer, type Rng } from '../random/streams.js';
import { capital, type Entry } from './wordnet-entries.js';

/** One request of a kind, made from an entry: what the material is and what the right answer is. */
export interface Material {
  input: string;
  output: string;
}

/** A kind of request: its share of the rows, ways of asking, and what it makes from an entry (nothing, one or several). */
export interface Task {
  share: number;
  /** The sentences that ask for it; a row gets one of them by its random stream. */
  instructions: readonly string[];
  make(entry: Entry, rng: () => Rng): Material[];
  /** All answers there are, where they are few: what a model's confidence in its answer can be judged by. */
  choices?: readonly string[];
}

/**
 * The kinds of request. Shares as in the probe that tried them on small models: more of the kinds that need the
 * input to be read (`entry`, `kind`, `use`), where a large and a small model differ, less of those that can only
 * be guessed; synonyms are left out, for neither size learns them.
 */
export const tasks = {
  entry: {
    share: 0.2,
    instructions: [
      'Write a dictionary entry.',
      'Write an entry from these notes.',
      'Turn the notes into a sentence.',
      'Make a sentence from the notes.',
    ],
    make: (entry) => {
      const notes = entryNotes(entry);
      return notes === undefined ? [] : [{ input: notes, output: entrySentence(entry) }];
    },
  },
  kind: {
    share: 0.2,
    instructions: [
      'Name the broader term.',
      'What kind of thing is this?',
      'Which wider word covers this?',
      'Give a more general word.',
    ],
    make: ({ broader, meaning }) => (broader === undefined ? [] : [{ input: meaning, output: broader }]),
  },
  use: {
    share: 0.15,
    instructions: [
      'Use the word in a sentence.',
      'Show how the word is used.',
      'Give an example with this word.',
      'Write a phrase with the word.',
    ],
    make: ({ word, meaning, examples }) =>
      examples.map((example) => ({ input: `${word} (${meaning})`, output: example })),
  },
  define: {
    share: 0.2,
    instructions: [
      'Define the word.',
      'What does this word mean?',
      'Give the meaning of the word.',
      'Explain this word.',
    ],
    make: (entry) => [{ input: `${entry.word}${hint(entry)}`, output: entry.meaning }],
  },
  finish: {
    share: 0.1,
    instructions: [
      'Finish the definition.',
      'Complete this definition.',
      'How does the definition end?',
      'Continue the definition.',
    ],
    make: ({ word, meaning }, rng) => {
      const words = meaning.split(' ');
      if (words.length < 5) return [];
      // At least two words on either side of the cut, and more than half of a long meaning is asked for.
      const cut = 2 + integer(rng(), Math.max(1, Math.floor(words.length / 2) - 1));
      return [{ input: `${word}: ${words.slice(0, cut).join(' ')}`, output: words.slice(cut).join(' ') }];
    },
  },
  field: {
    share: 0.1,
    instructions: [
      'Name the topic.',
      'What is this about?',
      'Which field is this from?',
      'Give the subject area.',
    ],
    make: ({ field, meaning }) =>
      field === '' || field === 'stative' ? [] : [{ input: meaning, output: field }],
  },
  class: {
    share: 0.05,
    instructions: [
      'Noun, verb, adjective or adverb?',
      'Name the part of speech.',
      'Which class of word means this?',
    ],
    make: ({ partOfSpeech, meaning }) => [{ input: meaning, output: partOfSpeech }],
    choices: ['noun', 'verb', 'adjective', 'adverb'],
  },
} as const satisfies Record<string, Task>;

export type TaskName = keyof typeof tasks;
export const taskNames = Object.keys(tasks) as TaskName[];

/** `a` or `an` by sound: an hour, an heir; a unit, a European, a one-way street, a ewe. */
export function article(word: string): 'a' | 'an' {
  if (/^(?:hour|honest|honou?r|heir)/.test(word)) return 'an';
  if (/^(?:uni(?!n|m)|u[bft]i|us[aeu]|ur[aei]|eu|ewe|one(?![a-z])|once)/.test(word)) return 'a';
  return /^[aeiou]/.test(word) ? 'an' : 'a';
}

/** The hint beside a word to be defined: what it is a kind of, a way to, or like; it tells the senses apart. */
function hint({ partOfSpeech, broader, like }: Entry): string {
  if (partOfSpeech === 'noun' && broader !== undefined) return `, a kind of ${broader}`;
  if (partOfSpeech === 'verb' && broader !== undefined) return `, a way to ${broader}`;
  if (partOfSpeech === 'adjective' && like !== undefined) return `, like ${like}`;
  return `, ${partOfSpeech}`;
}

/** How a noun's meaning begins, which is all that WordNet tells about the noun's own article. */
function nounForm({ word, meaning, field }: Entry): 'countable' | 'mass' | 'unknown' {
  // `trousers`: may be a plural, whose sentence would need another verb.
  if (/s$/.test(word) && !/(?:ss|us|is)$/.test(word)) return 'unknown';
  if (/^(?:an?|someone|one) /.test(meaning) || (field === 'person' && /^the /.test(meaning)))
    return 'countable';
  return /^(?:the|any|anything|something) /.test(meaning) ? 'mass' : 'unknown';
}

/**
 * The notes that an entry sentence is written from, separated by semicolons; undefined where the sentence would
 * not be English, or where a noun or verb has no broader term.
 */
function entryNotes(entry: Entry): string | undefined {
  const { word, partOfSpeech, broader, meaning } = entry;
  if (partOfSpeech === 'adjective' || partOfSpeech === 'adverb')
    return `${word}; ${partOfSpeech}; ${meaning}`;
  if (broader === undefined) return undefined;
  if (partOfSpeech === 'verb') return `to ${word}; ${broader}; ${meaning}`;
  return nounForm(entry) === 'unknown' ? undefined : `${word}; ${broader}; ${meaning}`;
}

/**
 * The dictionary sentence of an entry: `A rift is a kind of opening, a gap between cloud masses.` A noun whose
 * article cannot be told is only set before its meaning: `Bolo: long heavy knife with a single edge.`
 */
export function entrySentence(entry: Entry): string {
  const { word, partOfSpeech, broader, meaning } = entry;
  if (partOfSpeech === 'noun') {
    const form = nounForm(entry);
    if (form === 'unknown') return `${capital(word)}: ${meaning}.`;
    const subject = capital(form === 'countable' ? `${article(word)} ${word}` : word);
    return broader === undefined
      ? `${subject} is ${meaning}.`
      : `${subject} is a kind of ${broader}, ${meaning}.`;
  }
  if (partOfSpeech === 'verb')
    return broader === undefined
      ? `To ${word} is to ${meaning}.`
      : `To ${word} is one way to ${broader}: to ${meaning}.`;
  return `${capital(word)} is an ${partOfSpeech} that means ${meaning}.`;
}
