/**
 * Every recipe of a folder for a few optimizer steps on models of the real shapes with random weights: what paper-gpt2 and paper-llama
 * do. Beside every training run stands what `minillm plan` said of it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { trainTokenizer } from '../src/data/train-tokenizer.js';
import { RunError } from '../src/errors.js';
import type { Plan } from '../src/plan/plan.js';
import { csv } from '../src/report/escape.js';
import { runChildren } from '../src/runs/childRuns.js';
import { wordnetDirectory } from '../src/runs/wordnetCache.js';
import { initBackend } from '../src/tensor/backend.js';
import { loadTokenizer, type Tokenizer } from '../src/text/tokenizer.js';
import { saveTokenizer } from '../src/text/tokenizer-files.js';

const log = (line: string): void => void process.stderr.write(`${line}\n`);

/** Rows of 8 for training, of 2 for validation. */
const ROWS = { train: 8, valid: 2 };

export interface Exercise {
  name: string;
  recipe: 'sft' | 'kd' | 'minillm';
  set: Record<string, unknown>;
  /** Stop once this checkpoint is there, and resume. */
  stopAfter?: number;
}

/** MiniLLM with its pretraining loss in two rounds of two steps, stopped between them and resumed. */
export const minillmInTwoRounds: Exercise = {
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
};

export interface Recipes {
  /** The folder of sft.yaml, kd.yaml and minillm.yaml. */
  folder: string;
  out: string;
  exercises: readonly Exercise[];
  /** Fields that all runs change. */
  set?: Record<string, unknown>;
  /** Arguments of the evaluation. */
  evaluate?: readonly string[];
  /** Writes the models `student` and `teacher` into their directories, whose tokenizer lies in `tokens`. */
  writeModel(
    name: 'student' | 'teacher',
    directory: string,
    tokens: string,
    tokenizer: Tokenizer,
  ): Promise<void>;
}

/** Everything, into OUT/exercise.csv and OUT/plan.csv. A second call begins anew. */
export async function exerciseRecipes(recipes: Recipes): Promise<void> {
  const { out, exercises, evaluate = [] } = recipes;
  rmSync(join(out, 'runs'), { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  await makeWorld(recipes);
  const rows: Row[] = [];
  const compared: (string | number)[][] = [];
  for (const exercise of exercises) {
    const done = await runExercise(exercise, recipes);
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
  const args = ['--seeds', '10,20', '--no-cache', '--max-new-tokens', '64', ...evaluate];
  await runChildren([{ label: 'eval', args: ['eval', '--model', model, ...test, ...args] }], 1, log);
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
}

/** A tokenizer, models with random weights, rows and plain text. */
async function makeWorld({ out, writeModel }: Recipes): Promise<void> {
  const sizes = { train_rows: 2000, valid_rows: 100, test_rows: 100, seed: 1 };
  const wordnet = await wordnetDirectory(sizes, log);
  const corpus = join(wordnet, 'corpus.txt');
  const tokens = join(out, 'tokenizer');
  saveTokenizer(tokens, await trainTokenizer([join(wordnet, 'train.jsonl'), corpus], 4096, 'alpaca'));
  const tokenizer = await loadTokenizer(tokens);
  await initBackend();
  for (const name of ['student', 'teacher'] as const)
    await writeModel(name, join(out, name), tokens, tokenizer);
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

const few = { 'train.batch_size': 4, 'train.micro_batch_size': 2, 'train.warmup': 0 };
const often = {
  'eval.every': 0,
  'eval.prompts': ROWS.valid,
  'eval.max_new_tokens': 32,
  'checkpoint.every': 1,
};

/** The arguments of a recipe with everything made small but the models and the lengths. */
function argumentsOf({ name, recipe, set }: Exercise, { folder, out, set: ofAll }: Recipes): string[] {
  const world = {
    student: name === 'minillm' ? join(out, 'runs', 'sft', 'best') : join(out, 'student'),
    ...(recipe !== 'sft' && { teacher: join(out, 'teacher') }),
    'data.train': join(out, 'train.jsonl'),
    'data.valid': join(out, 'valid.jsonl'),
    ...(recipe === 'minillm' && { 'data.corpus': join(out, 'corpus.txt') }),
  };
  const sets = Object.entries({ ...world, ...few, ...often, ...ofAll, ...set });
  return [
    join(folder, `${recipe}.yaml`),
    ...sets.flatMap(([field, value]) => ['--set', `${field}=${JSON.stringify(value)}`]),
  ];
}

async function runExercise(exercise: Exercise, recipes: Recipes): Promise<{ plan: Plan; rows: Row[] }> {
  const { name, stopAfter } = exercise;
  const directory = join(recipes.out, 'runs', name);
  const args = argumentsOf(exercise, recipes);
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
