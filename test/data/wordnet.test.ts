import { describe, expect, it } from 'vitest';
import { parseSynset, type Synset, splitGloss } from '../../src/data/wordnet.js';
import {
  cleanMeaning,
  type Entry,
  glossCounts,
  isForm,
  simpleEntries,
  wordsOf,
} from '../../src/data/wordnet-entries.js';
import { article, entrySentence, tasks } from '../../src/data/wordnet-tasks.js';
import { UsageError } from '../../src/errors.js';
import { stream } from '../../src/random/streams.js';

const sedate =
  '00022309 29 v 05 sedate 0 calm 0 tranquilize 0 tranquillize 0 tranquillise 0 003 @ 00019441 v 0000 + 04977467 n 0503 ! 00022679 v 0101 01 + 09 00 | cause to be calm or quiet as by administering a sedative to; "The patient must be sedated before the operation"  ';

describe('parseSynset', () => {
  it('reads a verb: words, broader, gloss', () => {
    expect(parseSynset(sedate, 'here')).toEqual({
      id: 'verb:00022309',
      partOfSpeech: 'verb',
      field: 'body',
      words: ['sedate', 'calm', 'tranquilize', 'tranquillize', 'tranquillise'],
      broader: ['verb:00019441'],
      similar: [],
      usage: [],
      definition: 'cause to be calm or quiet as by administering a sedative to',
      examples: ['The patient must be sedated before the operation'],
    });
  });

  it('reads a satellite adjective: marker off, head found, no field', () => {
    const line =
      '00185843 00 s 01 in_stock(p) 0 002 & 00184353 a 0000 ;u 00012345 n 0000 | available for use or sale; "in stock"';
    expect(parseSynset(line, 'here')).toMatchObject({
      id: 'adjective:00185843',
      field: '',
      words: ['in stock'],
      similar: ['adjective:00184353'],
      usage: ['noun:00012345'],
    });
  });

  it('reads word counts in hexadecimal', () => {
    const words = Array.from({ length: 16 }, (_, i) => `w${i} 0`).join(' ');
    expect(parseSynset(`00000001 18 n 10 ${words} 000 | x`, 'here')).toMatchObject({
      field: 'person',
      words: { length: 16 },
    });
  });

  it.each([
    ['', 'an 8-digit offset'],
    ['00000001 xx n 01 a 0 000 | g', 'a lexicographer file number'],
    ['00000001 18 q 01 a 0 000 | g', 'a part of speech'],
    ['00000001 18 n 02 a 0 000 | g', 'a lexical id'],
    ['00000001 18 n 01 a 0 002 @ 00000002 n 0000 | g', 'a pointer symbol'],
    ['00000001 18 n 01 a 0 001 @ 2 n 0000 | g', 'a pointer offset'],
  ])('refuses %j', (line, message) => {
    expect(() => parseSynset(line, 'file:7')).toThrow(UsageError);
    expect(() => parseSynset(line, 'file:7')).toThrow(`file:7: expected ${message}`);
  });
});

describe('glosses', () => {
  it('split at the first quotation mark', () => {
    expect(splitGloss('with vigor; "allegro con brio"; "twice"  ')).toEqual({
      definition: 'with vigor',
      examples: ['allegro con brio', 'twice'],
    });
    expect(splitGloss('')).toEqual({ definition: '', examples: [] });
  });

  it.each([
    ['(of ships) a part; used at sea', 'a part'],
    ['to make (something) dry , slowly:', 'make dry, slowly'],
    ['the 1st one', undefined],
    ['Roman god', undefined],
    ['', undefined],
  ])('give the meaning %j → %j', (definition, meaning) => {
    expect(cleanMeaning(definition)).toBe(meaning);
  });

  it('are counted by synset, not by occurrence', () => {
    const synset = (definition: string) => ({ definition, examples: ['a dog'] }) as Synset;
    expect(glossCounts([synset('a cat or a dog'), synset('old-time cat')]).get('cat')).toBe(2);
    expect(glossCounts([synset('a a a')]).get('a')).toBe(1);
    expect(wordsOf("The cat's old-time, x2")).toEqual(['the', "cat's", 'old-time', 'x']);
  });
});

describe('isForm', () => {
  it.each([
    'call calls called calling',
    'make makes made- making',
    'try tries tried',
    'run running runs',
    'box boxes',
    'happy happier happily- ',
  ])('%s', (line) => {
    const [word, ...forms] = line.trim().split(' ');
    for (const form of forms) expect(isForm(form.replace('-', ''), word!), form).toBe(!form.endsWith('-'));
  });
  it('not other words with the same beginning', () => {
    for (const [text, word] of [
      ['cataract', 'cat'],
      ['carpet', 'car'],
      ['bed', 'be'],
      ['', 'a'],
    ] as const)
      expect(isForm(text, word)).toBe(text === 'bed');
  });
});

describe('simpleEntries', () => {
  const synset = (id: number, words: string[], definition: string, more: Partial<Synset> = {}): Synset => ({
    id: `noun:${id}`,
    partOfSpeech: 'noun',
    field: 'act',
    words,
    broader: [],
    similar: [],
    usage: [],
    definition,
    examples: [],
    ...more,
  });
  const entriesOf = (...synsets: Synset[]) => simpleEntries(new Map(synsets.map((s) => [s.id, s])), 1);
  const words = (...synsets: Synset[]) => entriesOf(...synsets).map((e) => e.word);

  it('keeps one head word a synset, the first suitable one', () => {
    expect(words(synset(1, ['Rift', 'big open rift', 'ab', 'gap', 'hole'], 'an open space'))).toEqual([
      'gap',
    ]);
  });

  it('drops too short and too long meanings, circular ones and repeated ones', () => {
    const long = Array.from({ length: 15 }, () => 'very').join(' ');
    expect(
      words(
        synset(1, ['one'], 'a thing'),
        synset(2, ['two'], long),
        synset(3, ['gap'], 'a kind of gap'),
        synset(4, ['walk'], 'the act of walking'),
      ),
    ).toEqual([]);
    expect(words(synset(1, ['gap'], 'an open space'), synset(2, ['hole'], 'an open space'))).toEqual(['gap']);
  });

  it('drops rare words, offensive senses and usages that break the sentences', () => {
    const common = [synset(1, ['gap'], 'an open space'), synset(2, ['hole'], 'an open space here')];
    expect(simpleEntries(new Map(common.map((s) => [s.id, s])), 2).map((e) => e.word)).toEqual(['gap']);
    const slang = synset(9, ['slang'], 'informal words here');
    expect(
      words(
        slang,
        synset(3, ['bad'], 'an offensive term for someone'),
        synset(4, ['grub'], 'food to eat', { usage: ['noun:9'] }),
      ),
    ).toEqual(['slang']);
  });

  it('finds the broader term and the examples that use the word', () => {
    // Words of examples must stand in 15 glosses; these make "let in light", "opening" and "clouds" simple.
    const filler = Array.from({ length: 15 }, (_, i) =>
      synset(100 + i, ['X'], 'the opening to let in light from clouds'),
    );
    const opening = synset(1, ['opening'], 'an open space');
    const examples = [
      'the rifts let in light.',
      'the light',
      'rift in the zeppelin light',
      'let in the rift (light)',
    ];
    const rift = synset(2, ['rift'], 'a gap in clouds', { broader: ['noun:1'], examples });
    expect(entriesOf(...filler, opening, rift)[1]).toEqual({
      word: 'rift',
      partOfSpeech: 'noun',
      meaning: 'a gap in clouds',
      broader: 'opening',
      field: 'act',
      examples: ['The rifts let in light'],
    });
  });
});

describe('article', () => {
  it.each([
    [
      'a',
      'rift unit unicorn university european one-way ewe usage user ubiquity utility uranium euro once-over house',
    ],
    ['an', 'opening hour heir honest honor umbrella uncle uninvited unimportant urn orange office egg'],
  ])('%s', (expected, line) => {
    for (const word of line.split(' ')) expect(`${article(word)} ${word}`).toBe(`${expected} ${word}`);
  });
});

const noun: Entry = {
  word: 'rift',
  partOfSpeech: 'noun',
  meaning: 'a gap between cloud masses',
  broader: 'opening',
  field: 'object',
  examples: ['The rift grew'],
};

describe('entrySentence', () => {
  it.each([
    [noun, 'A rift is a kind of opening, a gap between cloud masses.'],
    [
      { ...noun, word: 'opening', meaning: 'an open space' },
      'An opening is a kind of opening, an open space.',
    ],
    [
      { ...noun, word: 'rest', broader: 'state', meaning: 'the state of being still' },
      'Rest is a kind of state, the state of being still.',
    ],
    [{ ...noun, word: 'bolo', broader: 'knife', meaning: 'long heavy knife' }, 'Bolo: long heavy knife.'],
    [
      { ...noun, word: 'pilot', broader: 'worker', meaning: 'someone who flies' },
      'A pilot is a kind of worker, someone who flies.',
    ],
    [{ ...noun, word: 'goods', meaning: 'the things for sale' }, 'Goods: the things for sale.'],
    [
      { ...noun, word: 'amble', partOfSpeech: 'verb', broader: 'walk', meaning: 'go slowly' },
      'To amble is one way to walk: to go slowly.',
    ],
    [
      { ...noun, word: 'clear', partOfSpeech: 'adjective', meaning: 'free of doubt' },
      'Clear is an adjective that means free of doubt.',
    ],
    [
      { ...noun, word: 'always', partOfSpeech: 'adverb', meaning: 'at any time' },
      'Always is an adverb that means at any time.',
    ],
  ] as [Entry, string][])('%#', (entry, sentence) => {
    expect(entrySentence(entry)).toBe(sentence);
  });

  it('without a broader term', () => {
    const { broader, ...rest } = noun;
    expect(entrySentence(rest)).toBe('A rift is a gap between cloud masses.');
    expect(entrySentence({ ...rest, word: 'amble', partOfSpeech: 'verb', meaning: 'go slowly' })).toBe(
      'To amble is to go slowly.',
    );
  });
});

describe('tasks', () => {
  const make = (task: keyof typeof tasks, entry: Entry) => tasks[task].make(entry, () => stream(1, 'test'));
  const { broader, ...alone } = noun;

  it('make their material from an entry', () => {
    expect(make('entry', noun)).toEqual([
      { input: 'rift; opening; a gap between cloud masses', output: entrySentence(noun) },
    ]);
    expect(make('kind', noun)).toEqual([{ input: 'a gap between cloud masses', output: 'opening' }]);
    expect(make('use', noun)).toEqual([
      { input: 'rift (a gap between cloud masses)', output: 'The rift grew' },
    ]);
    expect(make('define', noun)).toEqual([
      { input: 'rift, a kind of opening', output: 'a gap between cloud masses' },
    ]);
    expect(make('field', noun)).toEqual([{ input: 'a gap between cloud masses', output: 'object' }]);
    expect(make('class', noun)).toEqual([{ input: 'a gap between cloud masses', output: 'noun' }]);
  });

  it('make nothing where there is nothing to ask for', () => {
    expect(make('entry', alone)).toEqual([]);
    expect(make('kind', alone)).toEqual([]);
    expect(make('use', { ...noun, examples: [] })).toEqual([]);
    expect(make('field', { ...noun, field: '' })).toEqual([]);
    expect(make('finish', { ...noun, meaning: 'a gap in clouds' })).toEqual([]);
  });

  it('define with a hint at the sense', () => {
    const input = (entry: Entry) => make('define', entry)[0]!.input;
    expect(input(alone)).toBe('rift, noun');
    expect(input({ ...noun, partOfSpeech: 'verb', word: 'amble', broader: 'walk' })).toBe(
      'amble, a way to walk',
    );
    expect(input({ ...alone, partOfSpeech: 'adjective', word: 'lendable', like: 'available' })).toBe(
      'lendable, like available',
    );
  });

  it('finish leaves at least two words on either side, and loses none', () => {
    const cuts = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const entry = { ...noun, meaning: 'one two three four five six seven eight nine' };
      const [{ input, output }] = tasks.finish.make(entry, () => stream(seed, 'finish')) as [
        { input: string; output: string },
      ];
      expect(`${input} ${output}`).toBe(`rift: ${entry.meaning}`);
      cuts.add(output.split(' ').length);
    }
    expect([...cuts].sort()).toEqual([5, 6, 7]);
  });

  it('have shares that sum to one', () => {
    expect(Object.values(tasks).reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12);
  });
});
