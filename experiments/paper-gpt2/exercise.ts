/**
 * paper-gpt2: every recipe of this folder for a few optimizer steps on models of GPT-2's real shapes.
 *
 *     node --import tsx experiments/paper-gpt2/exercise.ts OUT [--tiny]
 *
 * The student has the shape of GPT-2 (12 layers, width 768, 50,257 tokens), the teacher that of GPT-2 XL with 4 of its 48 layers, both
 * with random weights; rows are as long as the recipes allow, made of WordNet's text. SFT, KD, SeqKD, MiniLLM with its pretraining
 * loss (stopped after two steps and resumed), and an evaluation. Beside every training run stands what `minillm plan` said of it.
 * Writes OUT/exercise.csv and OUT/plan.csv. A second call begins anew. --tiny: two narrow layers, to see the script itself work.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { trainTokenizer } from '../../src/data/train-tokenizer.js';
import { RunError } from '../../src/errors.js';
import { saveModel } from '../../src/models/checkpoint.js';
import { gpt2Config } from '../../src/models/families.js';
import { initModel } from '../../src/models/model.js';
import type { Plan } from '../../src/plan/plan.js';
import { csv } from '../../src/report/escape.js';
import { runChildren } from '../../src/runs/childRuns.js';
import { wordnetDirectory } from '../../src/runs/wordnetCache.js';
import { initBackend } from '../../src/tensor/backend.js';
import { disposeParams } from '../../src/tensor/params.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { saveTokenizer } from '../../src/text/tokenizer-files.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const log = (line: string): void => void process.stderr.write(`${line}\n`);

/** Rows of 8 for training, of 2 for validation. */
const ROWS = { train: 8, valid: 2 };
const tiny = process.argv.includes('--tiny');
const shapes = tiny
  ? {
      student: { hiddenSize: 16, layers: 2, heads: 2 },
      teacher: { hiddenSize: 32, layers: 2, heads: 2 },
    }
  : {
      student: { hiddenSize: 768, layers: 12, heads: 12 },
      teacher: { hiddenSize: 1600, layers: 4, heads: 25 },
    };

/** A tokenizer, models with random weights, rows and plain text in `out`. */
async function makeWorld(out: string): Promise<void> {
  const sizes = { train_rows: 2000, valid_rows: 100, test_rows: 100, seed: 1 };
  const wordnet = await wordnetDirectory(sizes, log);
  const corpus = join(wordnet, 'corpus.txt');
  const tokens = join(out, 'tokenizer');
  saveTokenizer(tokens, await trainTokenizer([join(wordnet, 'train.jsonl'), corpus], 4096, 'alpaca'));
  const tokenizer = await loadTokenizer(tokens);
  await initBackend();
  for (const [seed, [name, shape]] of Object.entries(shapes).entries()) {
    const config = gpt2Config({ ...shape, vocabSize: 50257, maxPositions: 1024, eosId: tokenizer.eosId });
    const model = initModel(config, seed + 1);
    await saveModel(join(out, name), model, { tokenizerFrom: tokens });
    disposeParams(model.params);
  }
  const text = readFileSync(corpus, 'utf8');
  writeFileSync(join(out, 'corpus.txt'), text.slice(0, 100_000));
  const stream = tokenizer.encode(text.slice(0, 200_000).replace(/\s+/g, ' '));
  const piece = (from: number, length: number): string => tokenizer.decode(stream.slice(from, from + length));
  let at = 0;
  for (const [name, count] of Object.entries(ROWS)) {
    const rows = Array.from({ length: count }, () => {
      const row = {
        instruction: 'Go on with this text.',
        input: piece(at, 150),
        output: piece(at + 150, 230),
      };
      at += 380;
      return `${JSON.stringify(row)}\n`;
    });
    writeFileSync(join(out, `${name}.jsonl`), rows.join(''));
  }
}

interface Exercise {
  name: string;
  recipe: string;
  set: Record<string, unknown>;
  /** Stop once this checkpoint is there, and resume. */
  stopAfter?: number;
}

const few = { 'train.batch_size': 4, 'train.micro_batch_size': 2, 'train.warmup': 0 };
const often = {
  'eval.every': 0,
  'eval.prompts': ROWS.valid,
  'eval.max_new_tokens': 32,
  'checkpoint.every': 1,
};

const exercises: Exercise[] = [
  { name: 'sft', recipe: 'sft', set: { 'train.steps': 3 } },
  { name: 'kd', recipe: 'kd', set: { 'train.steps': 3 } },
  { name: 'seqkd', recipe: 'kd', set: { method: 'seqkd', 'train.steps': 2, 'rollout.batch_size': 8 } },
  {
    name: 'minillm',
    recipe: 'minillm',
    set: {
      'train.steps': 4,
      'rollout.rollouts': 4,
      'rollout.inner_epochs': 2,
      'rollout.batch_size': 4,
      'pretrain.batch_size': 2,
    },
    stopAfter: 2,
  },
];

/** The arguments of a recipe with everything made small but the models and the lengths. */
function argumentsOf({ name, recipe, set }: Exercise, out: string): string[] {
  const world = {
    student: name === 'minillm' ? join(out, 'runs', 'sft', 'best') : join(out, 'student'),
    ...(recipe !== 'sft' && { teacher: join(out, 'teacher') }),
    'data.train': join(out, 'train.jsonl'),
    'data.valid': join(out, 'valid.jsonl'),
    ...(recipe === 'minillm' && { 'data.corpus': join(out, 'corpus.txt') }),
  };
  const sets = Object.entries({ ...world, ...few, ...often, ...set });
  return [
    join(here, `${recipe}.yaml`),
    ...sets.flatMap(([field, value]) => ['--set', `${field}=${JSON.stringify(value)}`]),
  ];
}

async function runExercise(exercise: Exercise, out: string): Promise<{ plan: Plan; rows: Row[] }> {
  const { name, stopAfter } = exercise;
  const directory = join(out, 'runs', name);
  const args = argumentsOf(exercise, out);
  const [planned] = await runChildren(
    [{ label: name, args: ['plan', ...args, '--json', '--quiet'] }],
    1,
    log,
  );
  const train = { label: name, args: ['train', ...args, '--out', directory, '--json'] };
  if (stopAfter !== undefined) {
    const there = join(directory, 'checkpoints', String(stopAfter));
    await runChildren([train], 1, log, { stopping: () => existsSync(there) }).catch((error: unknown) => {
      if (!(error instanceof RunError) || error.exitCode !== 130) throw error;
      log(`${name}: stopped and saved; resuming`);
    });
  }
  await runChildren([{ ...train, args: [...train.args, '--resume'] }], 1, log);
  rmSync(join(directory, 'checkpoints'), { recursive: true }); // 1.5 GB each
  return { plan: JSON.parse(planned!) as Plan, rows: rowsOf(name, directory) };
}

interface Row {
  run: string;
  step: number;
  loss: number;
  grad_norm: number;
  seconds: number;
  memory_mb: number;
}

function rowsOf(run: string, directory: string): Row[] {
  const lines = (file: string): Record<string, number>[] =>
    readFileSync(join(directory, file), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, number>);
  const timing = new Map(lines('timing.jsonl').map((line) => [line.step, line]));
  const steps = lines('metrics.jsonl').filter((line) => String(line.phase) === 'train');
  return steps.map((line, i) => {
    const { train_s, rss_mb } = timing.get(line.step)!;
    const before = i === 0 ? 0 : timing.get(steps[i - 1]!.step)!.train_s!;
    return {
      ...{ run, step: line.step!, loss: line.loss!, grad_norm: line.grad_norm! },
      seconds: Math.round((train_s! - before) * 100) / 100,
      memory_mb: rss_mb!,
    };
  });
}

const out = process.argv[2];
if (out === undefined || out.startsWith('-')) throw new Error('usage: exercise.ts OUT [--tiny]');
rmSync(join(out, 'runs'), { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await makeWorld(out);
const rows: Row[] = [];
const compared: (string | number)[][] = [];
for (const exercise of exercises) {
  const done = await runExercise(exercise, out);
  rows.push(...done.rows);
  const measured = done.rows.reduce((sum, row) => sum + row.seconds, 0);
  const { time, memory } = done.plan;
  const most = Math.max(...done.rows.map((row) => row.memory_mb));
  const longest = time!.training_longest_responses; // random weights never end a response
  compared.push([
    exercise.name,
    longest.toFixed(1),
    measured.toFixed(1),
    Math.round(memory.total / 1e6),
    most,
  ]);
}
const model = join(out, 'runs', 'minillm', 'final');
const test = ['--teacher', join(out, 'teacher'), '--data', join(out, 'valid.jsonl')];
await runChildren(
  [
    {
      label: 'eval',
      args: ['eval', '--model', model, ...test, '--seeds', '10,20', '--no-cache', '--max-new-tokens', '64'],
    },
  ],
  1,
  log,
);
const columns = ['run', 'step', 'loss', 'grad_norm', 'seconds', 'memory_mb'] as const;
writeFileSync(
  join(out, 'exercise.csv'),
  csv(
    columns,
    rows.map((row) => columns.map((name) => row[name])),
  ),
);
const titles = ['run', 'planned_s', 'measured_s', 'planned_mb', 'measured_mb'];
writeFileSync(join(out, 'plan.csv'), csv(titles, compared));
