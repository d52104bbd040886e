/**
 * Two techniques that the library does not use, beside what it does, on this machine:
 *
 *     npm run bench:alternatives                  # everything, a few minutes on a quiet machine
 *     npm run bench:alternatives -- graph tiny    # cases whose names begin so: printed, not written
 *     npm run bench:alternatives -- --list
 *     npm run bench:alternatives -- workers --backend wasm
 *
 * graph: a scoring pass and a whole training step compiled into one TensorFlow graph and run by one call; of TensorFlow's
 * operations, and of our own kernels. workers: the rollouts of a MiniLLM round by two processes of one thread each. The two
 * sides take turns. Needs the native engine with our kernels, or for workers any. Writes results/alternatives.json and
 * alternatives.md. Options: --threads N (2), --turns N (each case has its own number), --backend NAME, --results DIR.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { randomRows } from '../../src/bench/training.js';
import { loadExamples } from '../../src/data/examples.js';
import { wordnetDirectory } from '../../src/runs/wordnetCache.js';
import { backendNames, fusedKernels, initBackend } from '../../src/tensor/backend.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { requireNative } from './compare.js';
import { graphRows } from './graphTurns.js';
import { markdownTable } from './markdown.js';
import { measuredOn } from './measuredOn.js';
import type { Row } from './turns.js';
import { workerRows } from './workerTurns.js';

const wordnet = fileURLToPath(new URL('../wordnet', import.meta.url));
const student = join(wordnet, 'student');
const tiny = { layers: 4, hiddenSize: 128, heads: 4, vocabSize: 1024 };
const small = { layers: 4, hiddenSize: 256, heads: 4, vocabSize: 4096 };
const teacherShape = { layers: 6, hiddenSize: 384, heads: 6 };

interface Case {
  name: string;
  /** How often the sides take turns. */
  turns: number;
  rows(turns: number): Promise<Row[]>;
}

const cases: Case[] = [
  graph('tiny', 25, { name: 'L4 D128 H4 V1024', source: { shape: tiny }, batch: 8, length: 64 }),
  graph('wordnet', 25, { name: 'the WordNet student', source: { model: student }, batch: 32, length: 40 }),
  graph('small', 9, { name: 'L4 D256 H4 V4096', source: { shape: small }, batch: 16, length: 128 }),
  { name: 'workers wordnet', turns: 9, rows: (turns) => wordnetWorkers(64, turns) },
  { name: 'workers wordnet-256', turns: 5, rows: (turns) => wordnetWorkers(256, turns) },
  { name: 'workers small', turns: 7, rows: (turns) => smallWorkers(64, turns) },
  { name: 'workers small-256', turns: 3, rows: (turns) => smallWorkers(256, turns) },
];

function graph(name: string, turns: number, what: Omit<Parameters<typeof graphRows>[0], 'turns'>): Case {
  return { name: `graph ${name}`, turns, rows: (turns) => graphRows({ ...what, turns }) };
}

/** The round of `minillm bench --what round`. */
function smallWorkers(rollouts: number, turns: number): Promise<Row[]> {
  return workerRows({
    name: 'L4 D256 with L6 D384',
    source: { shape: small, teacherShape, positions: 128 },
    prompts: randomRows(small.vocabSize, rollouts, 32, 'prompts'),
    ...{ maxNewTokens: 64, eosIds: [], minibatch: 16, innerEpochs: 4, pretrainLength: 96, turns },
  });
}

/** The round of the quickstart, from the shipped student. */
async function wordnetWorkers(rollouts: number, turns: number): Promise<Row[]> {
  const sizes = { train_rows: 30000, valid_rows: 1000, test_rows: 500, seed: 1 };
  const directory = await wordnetDirectory(sizes, (line) => process.stderr.write(`${line}\n`));
  const tokenizer = await loadTokenizer(student);
  const limits = { template: 'plain' as const, maxPromptTokens: 48, maxTokens: 80 };
  const { examples } = await loadExamples(join(directory, 'valid.jsonl'), tokenizer, limits);
  return workerRows({
    name: 'the WordNet pair',
    source: { model: student, teacher: join(wordnet, 'teacher'), positions: 128 },
    prompts: examples.slice(0, rollouts).map(({ promptIds }) => Int32Array.from(promptIds)),
    ...{
      maxNewTokens: 40,
      eosIds: [tokenizer.eosId],
      minibatch: 32,
      innerEpochs: 2,
      pretrainLength: 0,
      turns,
    },
  });
}

/** Markdown. */
export function table(rows: readonly Row[]): string {
  const number = (x: number | string): string =>
    typeof x === 'string' || Number.isInteger(x) ? String(x) : x < 1e-3 ? x.toExponential(0) : x.toFixed(2);
  const lines = rows.map((row) => [
    row.what,
    row.technique,
    `**${row.speedup.toFixed(2)}** (${row.speedup_range.map((x) => x.toFixed(2)).join('–')})`,
    row.cpu_speedup.toFixed(2),
    ...[row.ours_s, row.theirs_s].map((s) => (1000 * s).toFixed(s < 0.1 ? 1 : 0)),
    Object.entries(row.notes)
      .map(([name, value]) => `${name.replaceAll('_', ' ')} ${number(value)}`)
      .join(', '),
  ]);
  const head = ['work', 'done by', 'times as fast', 'by processor time', 'ours, ms', 'theirs, ms', 'notes'];
  return markdownTable(head, lines, [0, 1, 6]);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: 'boolean' },
      threads: { type: 'string', default: '2' },
      turns: { type: 'string' },
      backend: { type: 'string', default: 'tensorflow' },
      results: { type: 'string', default: fileURLToPath(new URL('results', import.meta.url)) },
    },
  });
  const beginning = positionals.join(' ');
  const chosen = cases.filter(({ name }) => name.startsWith(beginning));
  if (chosen.length === 0) throw new Error(`${beginning}: no such case; --list tells them`);
  if (values.list) {
    process.stdout.write(chosen.map(({ name }) => `${name}\n`).join(''));
    return;
  }
  const [threads, turnsGiven] = [values.threads, values.turns ?? '1'].map(Number);
  if (![threads, turnsGiven].every((n) => Number.isInteger(n) && n! >= 1))
    throw new Error('--threads, --turns: expected a whole number of at least 1');
  const wanted = backendNames.find((name) => name === values.backend);
  if (!wanted) throw new Error(`--backend ${values.backend}: expected one of ${backendNames.join(', ')}`);
  const backend = await initBackend({ backend: wanted, threads: threads! });
  const portable = wanted !== 'tensorflow' && beginning.startsWith('workers');
  if (!portable) requireNative(backend, fusedKernels());
  const rows: Row[] = [];
  for (const { name, turns, rows: measure } of chosen) {
    process.stderr.write(`${name}\n`);
    rows.push(...(await measure(values.turns ? turnsGiven! : turns)));
  }
  process.stdout.write(table(rows));
  if (chosen.length < cases.length) return;
  const measured = measuredOn(backend);
  mkdirSync(values.results, { recursive: true });
  const json = `${JSON.stringify({ measured, rows }, null, 2)}\n`;
  writeFileSync(join(values.results, 'alternatives.json'), json);
  writeFileSync(join(values.results, 'alternatives.md'), table(rows));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main().catch((error: Error) => {
    process.stderr.write(`bench:alternatives: ${error.message}\n`);
    process.exitCode = 1;
  });
}
