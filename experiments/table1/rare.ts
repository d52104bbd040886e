/**
 * A second test split that is built differently: `node experiments/table1/rare.ts OUT.jsonl`.
 *
 * Its words are rarer than any in the training data (a meaning belongs here when it holds a word that stands in 15 to 39 glosses;
 * training words stand in 40 or more), the head words are of the test part, and every request is worded in a way that no
 * training row has.
 */
import { pathToFileURL } from 'node:url';
import { jsonlText } from '../../src/data/jsonl.js';
import { loadWordnet } from '../../src/data/wordnet.js';
import { drawRows, type WordnetRow } from '../../src/data/wordnet-build.js';
import { type Entry, simpleEntries, simpleThreshold } from '../../src/data/wordnet-entries.js';
import type { TaskName } from '../../src/data/wordnet-tasks.js';
import { writeFileAtomic } from '../../src/runs/atomic.js';

/** Ways of asking that no training row has, by kind of request. */
export const wordings: Record<TaskName, string> = {
  entry: 'Put these notes into words.',
  kind: 'What is this an example of?',
  use: 'Say something with this word.',
  define: 'Tell me the meaning of this.',
  finish: 'What comes next?',
  field: 'What subject does this belong to?',
  class: 'Is it a noun, a verb, an adjective or an adverb?',
};

/** The entries with rarer words: those of the lower threshold that the higher one does not have. */
export function rareEntries(synsets: Parameters<typeof simpleEntries>[0]): Entry[] {
  const common = new Set(simpleEntries(synsets, simpleThreshold).map(keyOf));
  return simpleEntries(synsets, 15).filter((entry) => !common.has(keyOf(entry)));
}

export function rareRows(total: number, seed: number): WordnetRow[] {
  const { synsets } = loadWordnet();
  return drawRows(rareEntries(synsets), 'test', total, seed).map((row) => ({
    ...row,
    instruction: wordings[row.task],
  }));
}

function keyOf({ partOfSpeech, meaning }: Entry): string {
  return `${partOfSpeech} ${meaning}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [out] = process.argv.slice(2);
  if (out === undefined) throw new Error('usage: node experiments/table1/rare.ts OUT.jsonl');
  const rows = rareRows(1000, 1);
  await writeFileAtomic(out, jsonlText(rows));
  process.stderr.write(`${out}: ${rows.length} rows\n`);
}
