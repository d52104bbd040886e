import path from 'node:path';
import { UsageError } from '../errors.js';
import { permutation, stream } from '../random/streams.js';
import { type Item, rowItems } from './fields.js';
import { jsonlText } from './jsonl.js';
import { readRows } from './rows.js';
import { checksumTable, type SplitName, splitNames, writeFiles } from './splits.js';

export interface DollyOptions {
  /** databricks-dolly-15k.jsonl as published, or any instruction file of the shapes that training reads. */
  input: string;
  out: string;
  seed: number;
  /** Rows of the two held-out splits; the rest is for training. */
  sizes: { valid: number; test: number };
  /** Files whose prompts are in no split: a published test set. */
  exclude: readonly string[];
  /** Overwrites files that were not built here; default false. */
  force?: boolean;
}

interface DollyRow {
  instruction: string;
  input: string;
  output: string;
  category?: string;
}

export interface DollyCounts {
  rows: Record<SplitName, number>;
  /** Rows left out because a file of `exclude` has their prompt. */
  excluded: number;
  /** Rows without a response. */
  empty: number;
}

/**
 * Splits an instruction file into train.jsonl, valid.jsonl and test.jsonl with the fields of MiniLLM (`instruction`, `input`,
 * `output`), and a data card. All rows of one prompt (instruction and input, but for white space at the ends) are in one split,
 * so that no prompt that is tested was trained on. MiniLLM (arXiv 2306.08543, section 3.1) holds out 500 rows for the test and
 * 1,000 for validation; which 500, its files say, and `exclude` keeps those of another selection away. Prompts over a
 * model's length are dropped where they are read, by `data.max_prompt_tokens`, since only a tokenizer can tell.
 *
 * The bytes depend on the options and the files only. Nothing is written when a size is impossible.
 *
 * @throws UsageError for a row that cannot be used, and when nothing is left to train on
 */
export async function buildDolly(options: DollyOptions): Promise<DollyCounts> {
  const { input, out, seed, sizes } = options;
  const known = new Set<string>();
  for (const file of options.exclude) {
    for await (const { item } of items(file)) known.add(promptOf(item));
  }
  const groups = new Map<string, DollyRow[]>();
  let excluded = 0;
  let empty = 0;
  for await (const { item, category } of items(input)) {
    const output = item.outputs[0]?.trim();
    const key = promptOf(item);
    if (known.has(key)) excluded++;
    else if (!output) empty++;
    else {
      const row = { instruction: item.instruction, input: item.input, output, ...(category && { category }) };
      const group = groups.get(key);
      if (group) group.push(row);
      else groups.set(key, [row]);
    }
  }
  const splits = split([...groups.values()], seed, sizes, input);
  const files = Object.fromEntries(splitNames.map((name) => [`${name}.jsonl`, jsonlText(splits[name])]));
  const rows = {
    train: splits.train.length,
    valid: splits.valid.length,
    test: splits.test.length,
  };
  const counts = { rows, excluded, empty };
  writeFiles(out, { ...files, 'README.md': card(options, counts, files) }, options.force);
  return counts;
}

async function* items(file: string): AsyncGenerator<{ item: Item; category?: string }> {
  for await (const { where, value } of readRows(file)) {
    const category = typeof value.category === 'string' ? { category: value.category } : {};
    for (const item of rowItems(value, where)) yield { item, ...category };
  }
}

function promptOf({ instruction, input }: Item): string {
  return JSON.stringify([instruction.trim(), input.trim()]);
}

/** Shuffled prompts fill test, then valid, each to the row; a prompt with more rows than there is room for is trained on. */
function split(
  groups: readonly DollyRow[][],
  seed: number,
  sizes: DollyOptions['sizes'],
  file: string,
): Record<SplitName, DollyRow[]> {
  const splits: Record<SplitName, DollyRow[]> = { train: [], valid: [], test: [] };
  for (const index of permutation(groups.length, stream(seed, 'dolly', 'split'))) {
    const group = groups[index]!;
    const to = (['test', 'valid'] as const).find((name) => splits[name].length + group.length <= sizes[name]);
    splits[to ?? 'train'].push(...group);
  }
  const total = groups.reduce((sum, group) => sum + group.length, 0);
  if (splits.train.length === 0)
    throw new UsageError(
      `${file}: ${total} rows to split, ${sizes.valid} valid and ${sizes.test} test asked for; nothing is left to train on`,
    );
  return splits;
}

function card(
  { input, seed, sizes, exclude }: DollyOptions,
  { rows, excluded, empty }: DollyCounts,
  files: Record<string, string>,
): string {
  const flags = exclude.map((file) => ` --exclude ${path.basename(file)}`).join('');
  return `# Instructions from ${path.basename(input)}

Split by \`minillm data build dolly --input ${path.basename(input)} --seed ${seed} --valid ${sizes.valid} --test ${sizes.test}${flags}\`.
The same command on the same files gives the same bytes.

- ${rows.train} train, ${rows.valid} valid, ${rows.test} test rows. All rows of one prompt are in one split.
- Left out: ${excluded} rows whose prompt an excluded file has, ${empty} without a response.
- Fields: \`instruction\`, \`input\`, \`output\`, and \`category\` where the source has it.
- Licence: the source's. databricks-dolly-15k is CC BY-SA 3.0 (Databricks, 2023), and so is what is made from it.

${checksumTable(files)}
`;
}
