/**
 * The requests for a broader term of the WordNet set, each with the part of speech that is asked for:
 * `node experiments/rewards/rows.ts DATA`. Writes DATA/broader-train.jsonl, -valid.jsonl and -test.jsonl.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadWordnet } from '../../src/data/wordnet.js';
import { simpleEntries } from '../../src/data/wordnet-entries.js';

const [data] = process.argv.slice(2) as [string];
// A meaning is used once, by its first synset.
const partsOfSpeech = new Map(
  simpleEntries(loadWordnet().synsets).map(({ meaning, partOfSpeech }) => [meaning, partOfSpeech]),
);
for (const split of ['train', 'valid', 'test']) {
  const rows = readFileSync(join(data, `${split}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { task: string; input: string })
    .filter(({ task }) => task === 'kind')
    .map((row) => ({ ...row, part_of_speech: partsOfSpeech.get(row.input)! }));
  writeFileSync(join(data, `broader-${split}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  process.stderr.write(`${split}: ${rows.length} rows\n`);
}
