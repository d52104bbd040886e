/**
 * Classification rows for the calibration of answers: `node experiments/calibration/rows.ts OUT.jsonl` writes 1,000 test rows that
 * ask for the part of speech, four answers to choose from.
 */
import { pathToFileURL } from 'node:url';
import { jsonlText } from '../../src/data/jsonl.js';
import { loadWordnet } from '../../src/data/wordnet.js';
import { splitOf } from '../../src/data/wordnet-build.js';
import { simpleEntries } from '../../src/data/wordnet-entries.js';
import { tasks } from '../../src/data/wordnet-tasks.js';
import { permutation, stream } from '../../src/random/streams.js';
import { writeFileAtomic } from '../../src/runs/atomic.js';

/** Words of the test part in the order of a permutation, the natural mix of the parts of speech. */
export function classRows(total: number, seed: number) {
  const { instructions, choices, make } = tasks.class;
  const entries = simpleEntries(loadWordnet().synsets).filter((entry) => splitOf(entry.word) === 'test');
  const order = [...permutation(entries.length, stream(seed, 'calibration'))].map((i) => entries[i]!);
  return order.slice(0, total).flatMap((entry, i) =>
    make(entry).map(({ input, output }) => ({
      ...{ instruction: instructions[i % instructions.length]!, input, output, choices, word: entry.word },
    })),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [out] = process.argv.slice(2);
  if (out === undefined) throw new Error('usage: node experiments/calibration/rows.ts OUT.jsonl');
  await writeFileAtomic(out, jsonlText(classRows(1000, 1)));
}
