import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadExamples } from '../../src/data/examples.js';
import { type SplitName, splitNames } from '../../src/data/splits.js';
import { trainTokenizer } from '../../src/data/train-tokenizer.js';
import {
  buildWordnet,
  drawRows,
  splitOf,
  taskCounts,
  type WordnetRow,
} from '../../src/data/wordnet-build.js';
import type { Entry } from '../../src/data/wordnet-entries.js';
import { taskNames, tasks } from '../../src/data/wordnet-tasks.js';
import { UsageError } from '../../src/errors.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { saveTokenizer } from '../../src/text/tokenizer-files.js';

const root = mkdtempSync(path.join(tmpdir(), 'minillm-wordnet-'));
const out = path.join(root, 'set');
const sizes: Record<SplitName, number> = { train: 4000, valid: 300, test: 2000 };
let rows: Record<SplitName, WordnetRow[]>;
let entries: Entry[];

const read = (name: string) => readFileSync(path.join(out, name), 'utf8');

beforeAll(() => {
  const built = buildWordnet({ out, seed: 7, sizes });
  entries = built.entries;
  rows = Object.fromEntries(
    splitNames.map((split) => [
      split,
      read(`${split}.jsonl`)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as WordnetRow),
    ]),
  ) as Record<SplitName, WordnetRow[]>;
});
afterAll(() => rmSync(root, { recursive: true }));

describe('taskCounts', () => {
  it('are the shares, and sum to the total', () => {
    expect(taskCounts(30_000)).toEqual({
      entry: 6000,
      kind: 6000,
      use: 4500,
      define: 6000,
      finish: 3000,
      field: 3000,
      class: 1500,
    });
    for (const total of [1, 7, 33, 501])
      expect(Object.values(taskCounts(total)).reduce((a, b) => a + b, 0)).toBe(total);
  });
});

describe('splitOf', () => {
  it('is fixed by the word alone', () => {
    expect(['rift', 'person', 'amble', 'water', 'always', 'happy'].map(splitOf)).toEqual([
      'test',
      'train',
      'train',
      'valid',
      'train',
      'train',
    ]);
  });
  it('gives about 82 % train, 6 % valid, 12 % test', () => {
    const share = (split: SplitName) =>
      entries.filter((entry) => splitOf(entry.word) === split).length / entries.length;
    expect(share('train')).toBeCloseTo(0.82, 2);
    expect(share('valid')).toBeCloseTo(0.06, 2);
    expect(share('test')).toBeCloseTo(0.125, 2);
  });
});

describe('buildWordnet', () => {
  it('writes the three splits, the corpus and the card, as many rows as asked', () => {
    expect(readdirSync(out).sort()).toEqual([
      'README.md',
      'corpus.txt',
      'test.jsonl',
      'train.jsonl',
      'valid.jsonl',
    ]);
    for (const split of splitNames) {
      expect(rows[split]).toHaveLength(sizes[split]);
      const counts = taskCounts(sizes[split]);
      for (const task of taskNames)
        expect(
          rows[split].filter((row) => row.task === task),
          `${split} ${task}`,
        ).toHaveLength(counts[task]);
    }
  });

  it('gives the same bytes for the same seed', () => {
    const digest = (name: string) => createHash('sha256').update(read(name)).digest('hex').slice(0, 16);
    expect(['train.jsonl', 'valid.jsonl', 'test.jsonl', 'corpus.txt', 'README.md'].map(digest)).toEqual([
      'dca3d63c3ecaf542',
      '5ac46a56c5af89ca',
      '965bc012604605d0',
      '9978f459588993b0',
      '00a4ae32c620dfd1',
    ]);
    expect(drawRows(entries, 'valid', 300, 8)).not.toEqual(drawRows(entries, 'valid', 300, 7));
  });

  it('never shares a head word between splits, in any field that shows it', () => {
    const heads = splitNames.map((split) => new Set(rows[split].map((row) => row.word)));
    const [train, valid, test] = heads as [Set<string>, Set<string>, Set<string>];
    expect([...valid, ...test].filter((word) => train.has(word))).toEqual([]);
    expect([...valid].filter((word) => test.has(word))).toEqual([]);
    // The head as the input shows it: `rift, a kind of …`, `rift (…`, `rift: …`, `to amble; …`.
    const shown = (input: string) => /^(?:to (?=[^;]*;))?([a-z]+(?: [a-z]+)?)(?=[,;:]| \()/.exec(input)?.[1];
    const showing = Object.values(rows)
      .flat()
      .filter(({ task }) => ['entry', 'use', 'define', 'finish'].includes(task));
    expect(showing.length).toBe(6300 * 0.65);
    expect(showing.filter(({ input, word }) => shown(input) !== word)).toEqual([]);
  });

  it('never shares a meaning between splits', () => {
    const meanings = (split: SplitName) =>
      new Set(
        entries.filter((entry) => splitOf(entry.word) === split).map((e) => `${e.partOfSpeech} ${e.meaning}`),
      );
    const [train, valid, test] = splitNames.map(meanings) as [Set<string>, Set<string>, Set<string>];
    expect([...valid, ...test].filter((meaning) => train.has(meaning))).toEqual([]);
    expect([...valid].filter((meaning) => test.has(meaning))).toEqual([]);
  });

  it('has no row twice, and every instruction and answer is of its task', () => {
    const all = splitNames.flatMap((split) => rows[split]);
    expect(new Set(all.map(({ task, input, output }) => JSON.stringify([task, input, output]))).size).toBe(
      all.length,
    );
    const known = (row: WordnetRow) =>
      (tasks[row.task].instructions as readonly string[]).includes(row.instruction);
    expect(all.filter((row) => !known(row) || row.input.trim() === '' || row.output.trim() === '')).toEqual(
      [],
    );
    for (const task of taskNames)
      expect(new Set(all.filter((row) => row.task === task).map((row) => row.instruction)).size).toBe(
        tasks[task].instructions.length,
      );
  });

  it('keeps test and validation words out of the corpus’s documents', () => {
    const documents = read('corpus.txt').split('\n\n');
    expect(documents.length).toBeGreaterThan(8000);
    const head = (document: string) => /^(?:An? |To )?(.*?)(?: is |: )/.exec(document)![1]!.toLowerCase();
    expect(documents.map(head).filter((word) => splitOf(word) !== 'train')).toEqual([]);
  });

  it('writes a card with counts, checksums and WordNet’s notice', () => {
    const card = read('README.md');
    expect(card).toContain('--seed 7 --size 4000 --valid 300 --test 2000');
    expect(card).toContain('| use | 600 | 45 | 300 |');
    expect(card).toContain('WordNet 3.1 Copyright 2011 by Princeton University.');
    for (const name of ['train.jsonl', 'corpus.txt'])
      expect(card).toContain(createHash('sha256').update(read(name)).digest('hex'));
  });

  it('fits into 64 tokens of a vocabulary of 2,048, template and EOS included', async () => {
    const bpe = await trainTokenizer(
      [path.join(out, 'train.jsonl'), path.join(out, 'corpus.txt')],
      2048,
      'plain',
    );
    saveTokenizer(root, bpe);
    const tokenizer = await loadTokenizer(root);
    for (const split of splitNames) {
      const { examples, dropped } = await loadExamples(path.join(out, `${split}.jsonl`), tokenizer, {
        template: 'plain',
        maxPromptTokens: 64,
        maxTokens: 64,
      });
      expect(dropped, split).toBe(0);
      const total = examples.reduce((sum, e) => sum + e.promptIds.length + e.responseIds.length, 0);
      expect(total / examples.length).toBeGreaterThan(29);
      expect(total / examples.length).toBeLessThan(33);
    }
  });

  it('has material for 30,000 training rows, and says how many there are when asked for too many', () => {
    expect(drawRows(entries, 'train', 30_000, 7)).toHaveLength(30_000);
    expect(() => drawRows(entries, 'test', 9000, 7)).toThrow(UsageError);
    expect(() => drawRows(entries, 'test', 9000, 7)).toThrow(
      /^9000 test rows are more .* ask for at most \d{4}$/,
    );
  });
});
